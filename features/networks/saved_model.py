"""Runs a SavedModel in a process of its own: TensorFlow is loaded there, and what crashes ends that process alone."""

import contextlib
import os
import signal
import subprocess
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from features.errors import PassingError, UsageError
from features.io.temporary import temporary_folder
from features.networks.messages import receive, send
from features.networks.tensors import Tensor
from features.runtime.log import is_verbose
from features.runtime.processes import python_command, python_environment
from features.runtime.threads import ONE_THREAD

_ENVIRONMENT = {
    **ONE_THREAD,
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_ENABLE_ONEDNN_OPTS": "1",  # else by the kind of processor, or what the user has set: other last digits
    "CUDA_VISIBLE_DEVICES": "-1",  # other last digits, and no room for one network a worker
}
_ENDING_SECONDS = 20.0


class SavedModelNetwork:
    """A network of which one output is taken; see `features.networks.network.Network`."""

    def __init__(self, content: bytes, output: str | None) -> None:
        """Starts the process and has it load the network; raises `UsageError` as `open_network` does.

        Raises:
            PassingError: the process cannot be started, or died.
        """
        self._process = subprocess.Popen(
            python_command("features.networks.saved_model_process", os.getpid()),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None if is_verbose() else subprocess.DEVNULL,
            # Within this one's temporary folder, with which goes what is left where it is killed while it loads.
            env=python_environment(**_ENVIRONMENT, TMPDIR=temporary_folder()),
        )  # fmt: skip
        try:
            header, _ = self._ask({"output": output}, content)
        except UsageError:
            self.close()
            raise
        self.inputs = [_tensor(*one) for one in header["inputs"]]
        self.output = _tensor(*header["output"])

    def compute(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Network`; raises `PassingError` where the process died."""
        header, content = self._ask({"shape": batch.shape}, batch.tobytes())
        return np.frombuffer(content, np.float32).reshape(header["shape"])

    def close(self) -> None:
        """See `Network`."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what it had not read yet
                cast(BinaryIO, pipe).close()

    def _ask(self, request: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        if self._process.returncode is not None:
            raise self._death()
        try:
            send(cast(BinaryIO, self._process.stdin), request, content)
            header, answer = receive(cast(BinaryIO, self._process.stdout))
        except (OSError, EOFError) as error:
            raise self._death() from error
        except BaseException:
            self.close()  # half an answer would be taken for the next one
            raise
        if "error" in header:
            raise UsageError(header["error"])
        return header, answer

    def _death(self) -> PassingError:
        try:
            code = self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:  # it does not answer and does not end
            code = -signal.SIGKILL
        self.close()
        why = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return PassingError(
            f"the process that runs the SavedModel died ({why}); where memory ran out, fewer --workers take less, and "
            "--verbose shows what it says"
        )


def _tensor(name: str, dtype: str, shape: list[int | None]) -> Tensor:
    return Tensor(name, dtype, tuple(shape))
