"""A network of one linear layer: its weights in a file of NumPy, for LiteRT, and as a Keras model.

The weights are of features as they are in the cache, or of those at unit length: what brings values to mean 0 and
variance 1 is part of them. The flat buffer is put together here, which takes no TensorFlow.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError
from features.io.atomic import write_file
from model.inference.litert import BATCH_CLIPS

if TYPE_CHECKING:
    import keras

LINEAR = "linear"
"""Its name among the networks."""
LEAST_LENGTH = 1e-6
"""What features are divided by at least to bring them to unit length."""
UNIT_LENGTH = "unit_length"
"""Name of the tensor of features at unit length."""
# In the file, by whether they are of features at unit length: a reader that knows the first alone refuses the other.
_WEIGHTS = {False: "weights", True: "weights_of_unit_length"}
# Of LiteRT's files, and where tensors begin in them, which its kernels read in place.
_IDENTIFIER, _ALIGNMENT, _SCHEMA_VERSION = b"TFL3", 16, 3


@dataclass(frozen=True)
class LinearNetwork:
    """Logits as a linear function of a clip's features.

    Attributes:
        weights: float32 of shape (classes, values); values are those of the features in their order.
        bias: float32 of shape (classes,).
        unit_length: whether the features of a clip are first divided by the root of the sum of their squares.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    unit_length: bool = False

    @property
    def parameters(self) -> int:
        """How many numbers were learnt."""
        return self.weights.size + self.bias.size

    def write(self, path: Path, classes: Sequence[str]) -> None:
        """Writes the network and its classes as an .npz file: the same ones give the same bytes."""
        content = io.BytesIO()
        arrays = {_WEIGHTS[self.unit_length]: self.weights, "bias": self.bias, "classes": np.array(classes)}
        np.savez(content, allow_pickle=False, **arrays)
        write_file(path, content.getvalue())

    @classmethod
    def read(cls, path: Path) -> "LinearNetwork":
        """Reads what `write` wrote; raises `UsageError` where it is something else."""
        try:
            with np.load(path, allow_pickle=False) as file:
                unit_length = _WEIGHTS[True] in file
                return cls(file[_WEIGHTS[unit_length]], file["bias"], unit_length)
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise UsageError(f"{path} cannot be loaded: {error}; train again") from error

    def to_litert(self, shape: tuple[int, ...]) -> bytes:
        """Returns the network as `model.inference.litert.convert` does: of features of a shape, in batches of one size.

        The last operation is a dense layer, so that embeddings are what it takes: the features in one row, as they are
        in the cache, before they are brought to unit length.
        """
        import flatbuffers
        from ai_edge_litert.schema_py_generated import (
            BufferT,
            BuiltinOperator,
            BuiltinOptions,
            DivOptionsT,
            FullyConnectedOptionsT,
            MaximumMinimumOptionsT,
            ModelT,
            MulOptionsT,
            OperatorCodeT,
            OperatorT,
            ReducerOptionsT,
            ReshapeOptionsT,
            SignatureDefT,
            SubGraphT,
            TensorMapT,
            TensorT,
            TensorType,
        )

        class AlignedBuffer(BufferT):  # type: ignore[misc]
            """Writes its bytes where the kernels may read them in place, which the generated code does not see to."""

            def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 - as the generated code calls it
                """Writes it, and returns its place."""
                from ai_edge_litert.schema_py_generated import BufferAddData, BufferEnd, BufferStart

                data = None
                if self.data is not None:
                    builder.StartVector(1, len(self.data), _ALIGNMENT)
                    builder.head -= len(self.data)
                    builder.Bytes[builder.head : builder.head + len(self.data)] = self.data
                    data = builder.EndVector()
                BufferStart(builder)
                if data is not None:
                    BufferAddData(builder, data)
                place: int = BufferEnd(builder)
                return place

        model, graph = ModelT(), SubGraphT()
        model.version, model.description, model.buffers = _SCHEMA_VERSION, "linear", []
        graph.name, graph.tensors, graph.operators = "main", [], []

        def tensor(name: str, of: tuple[int, ...], content: NDArray[np.generic] | None = None) -> int:
            buffer, one = AlignedBuffer(), TensorT()
            buffer.data = None if content is None else content.tobytes()
            one.name, one.shape, one.buffer = name, list(of), len(model.buffers)
            one.type = TensorType.INT32 if content is not None and content.dtype == np.int32 else TensorType.FLOAT32
            model.buffers.append(buffer)
            graph.tensors.append(one)
            return len(graph.tensors) - 1

        model.buffers.append(AlignedBuffer())  # the first one is empty by the format's rule
        values = math.prod(shape)
        flat_shape = np.array([BATCH_CLIPS, values], np.int32)
        features = tensor("features", (BATCH_CLIPS, *shape, 1))
        flat = tensor("flat", (BATCH_CLIPS, values))
        logits = tensor("logits", (BATCH_CLIPS, len(self.bias)))
        model.operatorCodes = []

        def operation(name: str, options: tuple[str, Any], inputs: list[int], output: int) -> None:
            operator, code = OperatorT(), OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = getattr(BuiltinOperator, name)
            operator.opcodeIndex, operator.inputs, operator.outputs = len(graph.operators), inputs, [output]
            operator.builtinOptionsType, operator.builtinOptions = getattr(BuiltinOptions, options[0]), options[1]
            model.operatorCodes.append(code)
            graph.operators.append(operator)

        to_flat = ReshapeOptionsT()
        to_flat.newShape = flat_shape.tolist()
        inputs = [features, tensor("flat_shape", (2,), flat_shape)]
        operation("RESHAPE", ("ReshapeOptions", to_flat), inputs, flat)
        if self.unit_length:
            taken_by_dense = tensor(UNIT_LENGTH, (BATCH_CLIPS, values))
            # Not by L2_NORMALIZATION: LiteRT and OpenVINO do not divide by the same number at least.
            squares, length = tensor("squares", (BATCH_CLIPS, values)), (BATCH_CLIPS, 1)
            sums, lengths, above_0 = (tensor(name, length) for name in ("sums", "lengths", "above_0"))
            over_values = ReducerOptionsT()
            over_values.keepDims = True
            axis = tensor("axis", (1,), np.array([1], np.int32))
            least = tensor("least_length", (1,), np.array([LEAST_LENGTH], np.float32))
            operation("MUL", ("MulOptions", MulOptionsT()), [flat, flat], squares)
            operation("SUM", ("ReducerOptions", over_values), [squares, axis], sums)
            operation("SQRT", ("NONE", None), [sums], lengths)
            operation("MAXIMUM", ("MaximumMinimumOptions", MaximumMinimumOptionsT()), [lengths, least], above_0)
            operation("DIV", ("DivOptions", DivOptionsT()), [flat, above_0], taken_by_dense)
        else:
            taken_by_dense = flat
        learnt = [tensor("weights", self.weights.shape, self.weights), tensor("bias", self.bias.shape, self.bias)]
        dense = FullyConnectedOptionsT()
        operation("FULLY_CONNECTED", ("FullyConnectedOptions", dense), [taken_by_dense, *learnt], logits)
        graph.inputs, graph.outputs, model.subgraphs = [features], [logits], [graph]
        signature, taken, given = SignatureDefT(), TensorMapT(), TensorMapT()
        signature.signatureKey, signature.subgraphIndex = "serving_default", 0
        (taken.name, taken.tensorIndex), (given.name, given.tensorIndex) = ("features", features), ("logits", logits)
        signature.inputs, signature.outputs, model.signatureDefs = [taken], [given], [signature]
        builder = flatbuffers.Builder(self.weights.nbytes + 4096)
        builder.Finish(model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())

    def to_keras(self, shape: tuple[int, ...]) -> "keras.Model":
        """Returns the network as a Keras model: (clips, *shape, 1) to (clips, classes)."""
        import keras

        features = keras.layers.Input((*shape, 1), name="features")
        taken = keras.layers.Flatten()(features)
        if self.unit_length:
            # The converter for LiteRT makes one operation of Keras' own layer, which has no number for silence.
            lengths = keras.ops.sqrt(keras.ops.sum(keras.ops.square(taken), axis=1, keepdims=True))
            taken = taken / keras.ops.maximum(lengths, LEAST_LENGTH)
        model = keras.Model(features, keras.layers.Dense(len(self.bias), name="logits")(taken), name="linear")
        model.set_weights([self.weights.T, self.bias])
        return model
