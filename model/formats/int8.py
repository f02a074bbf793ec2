"""Quantizes a network for LiteRT to int8: its weights and what its layers pass on, but for its first and last steps.

Static range quantization (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018), with a scale for each channel of the weights. What stands before the first
layer with weights, the normalization above all, stays in float32, and so does the last layer with weights and what
follows: 256 steps would be all that logits have. The network takes and gives float32 as before.
"""

import contextlib
import importlib.util
import io
import re
import warnings
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError
from features.runtime.native_messages import ALL_MESSAGES, quiet_stderr
from model.inference.litert import BATCH_CLIPS

PACKAGE = "ai-edge-quantizer"
_WITH_WEIGHTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_MOST_OF_OLD_FIELD = 127  # larger codes of operations stand in the new field alone


def check_quantizer() -> None:
    """Raises `UsageError` where the package that quantizes is not installed."""
    if not importlib.util.find_spec("ai_edge_quantizer"):
        raise UsageError(f"model.quantize takes the package {PACKAGE}, which is not installed: pip install {PACKAGE}")


def quantize(content: bytes, features: NDArray[np.floating]) -> bytes:
    """Returns a network in int8 that takes batches of `BATCH_CLIPS` clips.

    Args:
        content: a flat buffer, as `model.inference.litert.convert` gives it.
        features: of clips, at least one, to take the ranges from: (clips, *spec.shape).

    Returns:
        A flat buffer with the same input and output, which LiteRT and OpenVINO read.

    Raises:
        UsageError: nothing of the network can be quantized, or the package is not installed.
    """
    return quantize_by(content, _whole_batches(features))


def quantize_by(content: bytes, batches: Iterable[NDArray[np.float32]], in_float: str | None = None) -> bytes:
    """Returns a network in int8.

    The range of what a layer passes on is that of all its values for these clips, whatever their order. The quantizer's
    own choice, a running average over batches, would depend on it.

    Args:
        content: a flat buffer with one signature of one input.
        batches: of clips, to take the ranges from, as the network takes them.
        in_float: begins the names of what stays in float32 besides, with a slash behind it; None for nothing.

    Returns:
        A flat buffer with the same input and output, which LiteRT and OpenVINO read.

    Raises:
        UsageError: nothing of the network can be quantized, or the package is not installed.
    """
    check_quantizer()
    kept = _kept_in_float(content, in_float)
    with _quiet():
        from ai_edge_quantizer import recipe
        from ai_edge_quantizer.algorithm_manager import AlgorithmName
        from ai_edge_quantizer.calibrator import Calibrator
        from ai_edge_quantizer.qtyping import TFLOperationName
        from ai_edge_quantizer.quantizer import Quantizer
        from ai_edge_quantizer.recipe_manager import RecipeManager
        from ai_edge_quantizer.utils.qsv_utils import min_max_update

        rules = RecipeManager()
        rules.load_quantization_recipe(recipe.static_wi8_ai8())
        for names in kept:  # a rule looks for the names of all outputs of an operation, each with a semicolon
            rules.add_quantization_config(
                f"^{re.escape(names)}$", TFLOperationName.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE
            )
        for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
            rules.add_quantization_config(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
        buffer = bytearray(content)
        ranges = Calibrator(memoryview(buffer), num_threads=1, qsv_update_func=min_max_update)
        ranges.calibrate(_by_signature(content, batches), rules)
        made = Quantizer(buffer, rules.get_quantization_recipe()).quantize(ranges.get_model_qsvs())
    return _written_anew(bytes(made.quantized_model))


def _kept_in_float(content: bytes, in_float: str | None) -> list[str]:
    """Returns the names of the tensors that operations give which stay in float32, with a semicolon behind each."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator, Model

    model = Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    operators = [graph.Operators(number) for number in range(graph.OperatorsLength())]
    codes = [model.OperatorCodes(operator.OpcodeIndex()) for operator in operators]
    names = [
        "".join(f"{graph.Tensors(number).Name().decode()};" for number in operator.OutputsAsNumpy())
        for operator in operators
    ]
    weighted = {getattr(BuiltinOperator, name) for name in _WITH_WEIGHTS}
    places = [
        place
        for place, (code, name) in enumerate(zip(codes, names, strict=True))
        if code.BuiltinCode() in weighted and not (in_float and name.startswith(f"{in_float}/"))
    ]
    if len(places) < 2:
        raise UsageError(
            "int8 is for what lies between the first and the last layer with weights, and the network has "
            f"{len(places)} of them; take it as it is"
        )
    return [*names[: places[0]], *names[places[-1] :]]


def _whole_batches(features: NDArray[np.floating]) -> list[NDArray[np.float32]]:
    """Returns whole batches, the last one filled up with the first clips again, as the network takes them."""
    batches = -(-len(features) // BATCH_CLIPS)
    rows = np.resize(features, (batches * BATCH_CLIPS, *features.shape[1:])).astype(np.float32)[..., np.newaxis]
    return np.split(rows, batches)


def _by_signature(
    content: bytes, batches: Iterable[NDArray[np.float32]]
) -> dict[str, Iterable[dict[str, NDArray[np.float32]]]]:
    """Returns batches by the name of the input, for the name of the signature."""
    from ai_edge_litert.interpreter import Interpreter

    [(signature, names)] = Interpreter(model_content=content).get_signature_list().items()
    [taken] = names["inputs"]
    return {signature: [{taken: batch} for batch in batches]}


def _written_anew(content: bytes) -> bytes:
    """Returns what the quantizer wrote as OpenVINO 2026.4 reads it.

    It finds no tensor that lies behind the flat buffer, where the quantizer puts those of larger networks, and looks
    for the code of an operation in the old field alone, which the quantizer leaves at 0 in those that it adds.
    """
    from ai_edge_litert.tools.flatbuffer_utils import convert_object_to_bytearray, read_model_from_bytearray

    model = read_model_from_bytearray(bytearray(content))  # with all tensors in it
    for code in model.operatorCodes:
        code.deprecatedBuiltinCode = min(code.builtinCode, _MOST_OF_OLD_FIELD)
    return bytes(convert_object_to_bytearray(model))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Holds back what the quantizer says of its work; a failure is an exception."""
    with (
        quiet_stderr(ALL_MESSAGES),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
