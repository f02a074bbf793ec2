"""DS-TC-ResNet: depthwise separable convolutions over time alone, the bands being the channels."""

import keras
from keras import layers

from features.store.statistics import Statistics
from model.networks.layers import normalization
from model.networks.registry import Shape

# Of each block: channels, frames of its kernel, dilation, whether there is a residual connection around it.
BLOCKS = ((128, 11, 1, False), (64, 13, 1, True), (64, 15, 1, True), (64, 17, 1, True), (128, 29, 2, False),
          (128, 1, 1, False))  # fmt: skip
_MOMENTUM = 0.9  # of the running means; .99 in the source, which trains for 120,000 steps


def ds_tc_resnet(shape: Shape, num_classes: int, statistics: Statistics) -> keras.Model:
    """Returns the DS-TC-ResNet of google-research/kws_streaming with the topology of MatchboxNet-3x1x64.

    Rybakov et al., "Streaming Keyword Spotting on Mobile Devices" (2020), after Majumdar and Ginsburg, "MatchboxNet"
    (2020). The source says 75K parameters of the network with 12 and with 35 classes alike; for 40 bands this one has
    73,220 and 76,187, with the means and variances of batch normalization, as the layers and options there give.

    Args:
        shape: frames and bands; any.
        num_classes: number of outputs.
        statistics: of the training features.
    """
    features = layers.Input((*shape, 1), name="features")
    x = normalization(*statistics.scalar())(features)
    x = layers.Reshape(shape)(x)  # (frames, bands as channels)
    for channels, frames, dilation, is_residual in BLOCKS:
        y = layers.SeparableConv1D(channels, frames, padding="same", dilation_rate=dilation, use_bias=False)(x)
        y = layers.BatchNormalization(momentum=_MOMENTUM)(y)
        if is_residual:
            x = layers.Conv1D(channels, 1, use_bias=False)(x)
            y = layers.Add()([y, layers.BatchNormalization(momentum=_MOMENTUM)(x)])
        x = layers.ReLU()(y)
    x = layers.GlobalAveragePooling1D()(x)
    logits = layers.Dense(num_classes, name="logits")(x)
    return keras.Model(features, logits, name="ds_tc_resnet")
