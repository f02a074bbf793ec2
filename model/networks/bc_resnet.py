"""BC-ResNet: convolutions over time on the mean of all bands, spread over the bands again by a residual connection."""

import keras
from keras import layers

from features.store.statistics import Statistics
from model.networks.layers import normalization, without_still_bands
from model.networks.registry import Shape

BASE_CHANNELS = 8
# A stage: its channels relative to those of the width, its blocks, its stride over bands. It dilates time by 2^number.
STAGES = ((1.0, 2, 1), (1.5, 2, 2), (2.0, 4, 2), (2.5, 4, 1))
SUB_BANDS = 5
_MOMENTUM, _EPSILON = 0.9, 1e-5  # of batch normalization in the official code


def bc_resnet(width: float, shape: Shape, num_classes: int, statistics: Statistics) -> keras.Model:
    """Returns a BC-ResNet, after the paper and the official code of its authors.

    Kim, Chang, Lee and Sung, "Broadcasted Residual Learning for Efficient Keyword Spotting" (Interspeech 2021). Its
    table 3 gives, for 40 bands and 12 classes, 9.2k, 17.2k, 27.3k, 54.2k, 188k and 321k parameters for the widths 1,
    1.5, 2, 3, 6 and 8; these have 9,232, 17,154, 27,284, 54,168, 187,812 and 321,068 that are trained.

    Sub-spectral normalization (Chang et al. 2021) takes five sub-bands where the bands of a layer can be divided by
    five, as with 40 bands, else the largest number below that divides them; with one it is batch normalization. The
    5x5 convolution after the stages is as wide as there are bands, where they are fewer than five. Bands that stand
    still in training, which would make sub-bands that do, are not used.

    Args:
        width: the factor of the channels, tau in the paper.
        shape: frames and bands; any.
        num_classes: number of outputs.
        statistics: of the training features.
    """
    channels = int(BASE_CHANNELS * width)
    features = layers.Input((*shape, 1), name="features")
    x = without_still_bands(normalization(*statistics.scalar())(features), statistics)
    x = layers.Conv2D(2 * channels, 5, strides=(1, 2), padding="same", use_bias=False)(x)
    x = layers.ReLU()(_batch_normalization(x))
    for number, (factor, blocks, stride) in enumerate(STAGES):
        for block in range(blocks):
            x = _block(x, int(channels * factor), stride if block == 0 else 1, dilation=2**number)
    x = layers.ZeroPadding2D((2, 0))(x)
    x = layers.DepthwiseConv2D((5, min(5, x.shape[2])), use_bias=False)(x)
    x = layers.Conv2D(4 * channels, 1, use_bias=False)(x)
    x = layers.ReLU()(_batch_normalization(x))
    x = layers.GlobalAveragePooling2D()(x)
    logits = layers.Dense(num_classes, name="logits")(x)
    return keras.Model(features, logits, name=f"bc_resnet_{width}".replace(".", "_"))


def _block(x: keras.KerasTensor, channels: int, stride: int, dilation: int) -> keras.KerasTensor:
    """Returns f2(x) + broadcast(f1(mean of f2(x) over bands)), plus x where the channels stay the same.

    (frames, bands, channels before) to (frames, bands / stride, channels).
    """
    is_transition = x.shape[-1] != channels
    y = x
    if is_transition:
        y = layers.Conv2D(channels, 1, use_bias=False)(y)
        y = layers.ReLU()(_batch_normalization(y))
    y = layers.DepthwiseConv2D((1, 3), padding="same", use_bias=False)(y)
    if stride > 1:  # TensorFlow's depthwise convolution has the same stride on both axes, so every second is taken here
        y = layers.MaxPooling2D(1, strides=(1, stride))(y)
    y = sub_spectral_normalization(y)
    z = layers.AveragePooling2D((1, y.shape[2]))(y)  # (frames, 1, channels)
    z = layers.DepthwiseConv2D((3, 1), padding="same", dilation_rate=(dilation, 1), use_bias=False)(z)
    z = layers.Activation("silu")(_batch_normalization(z))
    z = layers.Conv2D(channels, 1, use_bias=False)(z)
    z = layers.SpatialDropout2D(0.1)(z)
    return layers.ReLU()(layers.Add()([y, z] if is_transition else [y, z, x]))


def sub_spectral_normalization(x: keras.KerasTensor) -> keras.KerasTensor:
    """Returns x, (frames, bands, channels), normalized in each channel of each sub-band by itself.

    It is batch normalization of sub-bands times channels: Keras' own layers, so that it is saved with no class of ours.
    """
    frames, bands, channels = x.shape[1:]
    sub_bands = max(number for number in range(1, SUB_BANDS + 1) if bands % number == 0)
    if sub_bands == 1:
        return _batch_normalization(x)
    width = bands // sub_bands
    x = layers.Reshape((frames, sub_bands, width, channels))(x)
    if width > 1:
        x = layers.Permute((1, 3, 2, 4))(x)  # (frames, width, sub-bands, channels)
    x = _batch_normalization(layers.Reshape((frames, width, sub_bands * channels))(x))
    if width > 1:
        x = layers.Permute((1, 3, 2, 4))(layers.Reshape((frames, width, sub_bands, channels))(x))
    return layers.Reshape((frames, bands, channels))(x)


def _batch_normalization(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.BatchNormalization(momentum=_MOMENTUM, epsilon=_EPSILON)(x)
