"""A small residual network for spectrograms: fast to train on a processor without an accelerator."""

import keras
from keras import layers

from features.store.statistics import Statistics
from model.networks.layers import normalization
from model.networks.registry import Shape

STEM_CHANNELS = 24
STAGE_CHANNELS = (24, 48, 96, 128)
_MOMENTUM = 0.9  # of the running means: few epochs of few clips have to be enough for them


def residual(shape: Shape, num_classes: int, statistics: Statistics) -> keras.Model:
    """Returns a residual network of four stages, each of one block of two 3x3 convolutions.

    The blocks are those of He et al., "Deep Residual Learning for Image Recognition" (2016), with the projection of
    their option B; as in Tang and Lin, "Deep Residual Learning for Small-Footprint Keyword Spotting" (2018), there are
    few channels and the average over all places comes before the classes. A first convolution of 5x5 with stride 2 and
    stages of growing width keep most of the work in small layers. It has no published count of parameters: 447,171 for
    features of (98, 40) and 8 classes, 3 of them of the normalization.

    Args:
        shape: frames and bands; any.
        num_classes: number of outputs.
        statistics: of the training features.
    """
    features = layers.Input((*shape, 1), name="features")
    x = normalization(*statistics.scalar())(features)
    x = layers.ReLU()(_convolution(x, STEM_CHANNELS, 5, stride=2))
    for number, channels in enumerate(STAGE_CHANNELS):
        x = _block(x, channels, stride=1 if number == 0 else 2)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.3)(x)
    logits = layers.Dense(num_classes, name="logits")(x)
    return keras.Model(features, logits, name="residual")


def _block(x: keras.KerasTensor, channels: int, stride: int) -> keras.KerasTensor:
    y = layers.ReLU()(_convolution(x, channels, 3, stride))
    y = _convolution(y, channels, 3)
    if stride != 1 or x.shape[-1] != channels:
        x = _convolution(x, channels, 1, stride)
    return layers.ReLU()(layers.Add()([x, y]))


def _convolution(x: keras.KerasTensor, channels: int, size: int, stride: int = 1) -> keras.KerasTensor:
    x = layers.Conv2D(channels, size, stride, padding="same", use_bias=False)(x)
    return layers.BatchNormalization(momentum=_MOMENTUM)(x)
