"""A network with its front end as a file of ONNX."""

import logging
from pathlib import Path

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from features.errors import UsageError, one_line
from features.io.atomic import naming_full_disk
from features.runtime.native_messages import ALL_MESSAGES, quiet_stderr
from model.formats.description import describe
from model.formats.network_function import NetworkFunction
from model.inference.artifact import Artifact

OPSET = 17
"""Version of the operators, which ONNX Runtime has since 1.12."""
DESCRIPTION_KEY = "soundmill"
"""Of the metadata of the file whose value is what `describe` returns."""


def write_onnx(path: Path, artifact: Artifact) -> None:
    """Writes the file of ONNX.

    Raises:
        UsageError: ONNX has no operation for one of the network.
    """
    import onnx
    import tf2onnx.convert

    function = NetworkFunction(artifact)
    serve = tf.function(function.label_any_number, input_signature=[function.input], autograph=False)
    concrete = serve.get_concrete_function()
    # Weights become constants first: what a layer keeps beside them, as the mean of a Normalization, would else be an
    # input of the graph.
    frozen = convert_variables_to_constants_v2(concrete)
    names = sorted(concrete.structured_outputs)  # the order of outputs in the graph
    [taken], given = frozen.inputs, [tensor.name for tensor in frozen.outputs]
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    try:
        with quiet_stderr(ALL_MESSAGES):
            model, _ = tf2onnx.convert.from_graph_def(
                frozen.graph.as_graph_def(),
                input_names=[taken.name],
                output_names=given,
                opset=OPSET,
                tensors_to_rename={taken.name: function.input.name, **dict(zip(given, names, strict=True))},
            )
            onnx.checker.check_model(model)
    except Exception as error:  # tf2onnx raises whatever it meets
        raise UsageError(
            f"the network {artifact.network_name} cannot be converted to ONNX: {one_line(error)}; take another --format"
        ) from error
    onnx.helper.set_model_props(model, {DESCRIPTION_KEY: describe(artifact)})
    with naming_full_disk(path):
        path.write_bytes(model.SerializeToString())
