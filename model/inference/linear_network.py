"""A network of one linear layer: its weights in a file of NumPy, for LiteRT, and as a Keras model.

The weights are of features as they are in the cache: what brings those to mean 0 and variance 1 is part of them. The
flat buffer is put together here, which takes no TensorFlow.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
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
# Of LiteRT's files, and where tensors begin in them, which its kernels read in place.
_IDENTIFIER, _ALIGNMENT, _SCHEMA_VERSION = b"TFL3", 16, 3


@dataclass(frozen=True)
class LinearNetwork:
    """Logits as a linear function of a clip's features.

    Attributes:
        weights: float32 of shape (classes, values); values are those of the features in their order.
        bias: float32 of shape (classes,).
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def parameters(self) -> int:
        """How many numbers were learnt."""
        return self.weights.size + self.bias.size

    def write(self, path: Path, classes: Sequence[str]) -> None:
        """Writes the network and its classes as an .npz file: the same ones give the same bytes."""
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, weights=self.weights, bias=self.bias, classes=np.array(classes))
        write_file(path, content.getvalue())

    @classmethod
    def read(cls, path: Path) -> "LinearNetwork":
        """Reads what `write` wrote; raises `UsageError` where it is something else."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(file["weights"], file["bias"])
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise UsageError(f"{path} cannot be loaded: {error}; train again") from error

    def to_litert(self, shape: tuple[int, ...]) -> bytes:
        """Returns the network as `model.inference.litert.convert` does: of features of a shape, in batches of one size.

        The last operation is a dense layer, so that embeddings are what it takes: the features in one row.
        """
        import flatbuffers
        from ai_edge_litert.schema_py_generated import (
            BufferT,
            BuiltinOperator,
            BuiltinOptions,
            FullyConnectedOptionsT,
            ModelT,
            OperatorCodeT,
            OperatorT,
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
        operations = (
            (BuiltinOperator.RESHAPE, [features, tensor("flat_shape", (2,), flat_shape)], flat),
            (
                BuiltinOperator.FULLY_CONNECTED,
                [flat, tensor("weights", self.weights.shape, self.weights), tensor("bias", self.bias.shape, self.bias)],
                logits,
            ),
        )
        options = ((BuiltinOptions.ReshapeOptions, ReshapeOptionsT()),
                   (BuiltinOptions.FullyConnectedOptions, FullyConnectedOptionsT()))  # fmt: skip
        options[0][1].newShape = flat_shape.tolist()
        model.operatorCodes = []
        for number, ((code, inputs, output), (kind, content)) in enumerate(zip(operations, options, strict=True)):
            operator, operator_code = OperatorT(), OperatorCodeT()
            operator_code.builtinCode = operator_code.deprecatedBuiltinCode = code
            operator.opcodeIndex, operator.inputs, operator.outputs = number, inputs, [output]
            operator.builtinOptionsType, operator.builtinOptions = kind, content
            model.operatorCodes.append(operator_code)
            graph.operators.append(operator)
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

        layers = [
            keras.layers.Input((*shape, 1), name="features"),
            keras.layers.Flatten(),
            keras.layers.Dense(len(self.bias), name="logits"),
        ]
        model = keras.Sequential(layers, name="linear")
        model.set_weights([self.weights.T, self.bias])
        return model
