"""What a network costs to run: multiply-adds a clip."""

from math import prod
from typing import Any

import keras
from keras import layers

_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)


def multiply_adds(model: keras.Model) -> int:
    """Returns how many products a network computes and adds up for one clip.

    What counts are convolutions (plain, grouped, transposed, depthwise, separable) and dense layers, at every place
    where they are called, in models inside the model too. Biases, normalization, activations, pooling and sums do not
    count, as in the tables of papers, nor do other layers: recurrent ones, attention, layers inside wrappers, and those
    that know the size of what they give only as they run.

    Args:
        model: a functional or sequential model.
    """
    return sum(_of_layer(layer) for layer in model.layers)


def _of_layer(layer: keras.Layer) -> int:
    calls: list[Any] = layer._inbound_nodes  # the public `layer.output` does not exist where a layer is called twice
    if isinstance(layer, keras.Model):
        return len(calls) * multiply_adds(layer)
    if isinstance(layer, _TRANSPOSED):
        places = sum(_places(layer, call.input_tensors[0].shape) for call in calls)
    else:
        places = sum(_places(layer, call.output_tensors[0].shape) for call in calls)
    kernels: list[keras.Variable] = []
    if isinstance(layer, _SEPARABLE):
        kernels = [layer.depthwise_kernel, layer.pointwise_kernel]
    elif isinstance(layer, (*_CONVOLUTIONS, *_TRANSPOSED, *_DEPTHWISE, layers.Dense)):
        kernels = [layer.kernel]
    return places * sum(int(prod(kernel.shape)) for kernel in kernels)


def _places(layer: keras.Layer, shape: tuple[int | None, ...]) -> int:
    """Returns on how many places of a clip a layer applies all of its kernel; 0 where it is not known."""
    axes = shape[2:] if getattr(layer, "data_format", None) == "channels_first" else shape[1:-1]
    return prod(size or 0 for size in axes)
