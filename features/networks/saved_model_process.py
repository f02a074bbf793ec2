"""The process in which a SavedModel is run; `saved_model` starts and asks it. The one file here that loads TensorFlow.

The first message on its standard input is the archive of the network, each other one a batch.
"""

import io
import os
import signal
import sys
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError, one_line
from features.io.temporary import remove_temporary_folder, temporary_folder
from features.networks.messages import receive, send
from features.networks.tensors import Tensor, choose_output
from features.runtime.parent_watch import end_with_parent

_USUAL_SIGNATURE = "serving_default"


def main() -> None:
    """Answers until the other end of its standard input is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's
    end_with_parent(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    requests = sys.stdin.buffer
    request, archive = receive(requests)
    try:
        network = _SavedModel(archive, request["output"])
    except UsageError as error:
        send(answers, {"error": str(error)})
        return
    del archive
    send(answers, {"inputs": network.inputs, "output": network.output})
    while True:
        try:
            request, content = receive(requests)
        except EOFError:
            return
        try:
            values = network.compute(np.frombuffer(content, np.float32).reshape(request["shape"]))
        except UsageError as error:
            send(answers, {"error": str(error)})
        else:
            send(answers, {"shape": values.shape}, values.tobytes())


class _SavedModel:
    """A signature of a SavedModel, of which one output is taken.

    It is loaded as a graph, and not by `tf.saved_model.load`: that makes anew the objects which saved it, and fails
    where those were an optimizer of Keras 2. A session also computes no more than the output takes.
    """

    def __init__(self, archive: bytes, output: str | None) -> None:
        import tensorflow as tf

        threads = {"intra_op_parallelism_threads": 1, "inter_op_parallelism_threads": 1}
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=tf.compat.v1.ConfigProto(**threads))
        folder = os.path.join(temporary_folder(), "network")
        try:
            with zipfile.ZipFile(io.BytesIO(archive)) as packed:
                packed.extractall(folder)
            loaded = tf.compat.v1.saved_model.load(self._session, [tf.saved_model.SERVING], folder)
        except Exception as error:  # TensorFlow's own, and those of protobuf
            raise UsageError(f"the network cannot be loaded by TensorFlow: {one_line(error)}") from error
        finally:
            remove_temporary_folder()  # now: this process is ended by being killed
        # Names with two underscores are of what TensorFlow runs when it loads.
        signature = _signature({name: one for name, one in loaded.signature_def.items() if not name.startswith("__")})
        self.inputs = [_tensor(name, info) for name, info in sorted(signature.inputs.items())]
        self._taken = [info.name for _, info in sorted(signature.inputs.items())]
        chosen = choose_output(output, sorted(signature.outputs), [])
        self.output = _tensor(chosen, signature.outputs[chosen])
        self._given = signature.outputs[chosen].name

    def compute(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        import tensorflow as tf

        try:
            values: NDArray[np.float32] = self._session.run(self._given, {self._taken[0]: batch})
        except (tf.errors.OpError, TypeError, ValueError) as error:
            raise UsageError(f"the network takes no input of shape {batch.shape}: {one_line(error)}") from error
        return values


def _signature(signatures: dict[str, Any]) -> Any:
    if _USUAL_SIGNATURE in signatures:
        return signatures[_USUAL_SIGNATURE]
    if len(signatures) != 1:
        names = ", ".join(map(repr, sorted(signatures))) or "none"
        raise UsageError(
            f"a SavedModel must have a signature {_USUAL_SIGNATURE!r} or a single one, and has {names}; "
            "save it with tf.saved_model.save(..., signatures=...)"
        )
    return next(iter(signatures.values()))


def _tensor(name: str, info: Any) -> Tensor:
    import tensorflow as tf

    axes = () if info.tensor_shape.unknown_rank else info.tensor_shape.dim
    return Tensor(name, tf.as_dtype(info.dtype).name, tuple(None if axis.size < 0 else axis.size for axis in axes))


if __name__ == "__main__":
    main()
