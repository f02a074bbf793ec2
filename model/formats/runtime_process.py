"""Runs exports as other programs do: by their own runtime, in a process that has none of this project's code."""

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import RunError

LOADERS = {
    "saved_model": """
import tensorflow as tf

def load(path):
    signatures = tf.saved_model.load(path).signatures
    def run(values):
        if isinstance(values, str):
            outputs = signatures["from_path"](path=tf.constant(os.fsencode(values)))
        else:
            [name] = signatures["serving_default"].structured_input_signature[1]
            outputs = signatures["serving_default"](**{name: tf.constant(values)})
        return {name: output.numpy() for name, output in outputs.items() if name != "class_names"}
    return run
""",
    "litert": """
from ai_edge_litert.interpreter import Interpreter

def load(path):
    with open(path, "rb") as file:
        runner = Interpreter(model_content=file.read()).get_signature_runner("serving_default")
    [name] = runner.get_input_details()
    return lambda values: runner(**{name: values})
""",
    "onnx": """
import onnxruntime

def load(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with open(path, "rb") as file:
        session = onnxruntime.InferenceSession(file.read(), options, providers=["CPUExecutionProvider"])
    [taken] = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    return lambda values: dict(zip(names, session.run(names, {taken.name: values})))
""",
}
"""By runtime, lines that define `load`, which takes the path of an export and returns a function from an input to its
outputs by name; `os` is imported before them."""
# The runtime's own messages are no answers. What is answered is a line for each line that comes.
_SERVE = """
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    request = json.loads(line)
    try:
        if "load" in request:
            run = load(request["load"])
        else:
            np.savez(request["outputs"], **run(request["path"] or np.load(request["inputs"])))
        answer = ""
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    print(json.dumps(answer), file=answers, flush=True)
"""
_ENVIRONMENT = {"ORT_DISABLE_TELEMETRY": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


class RuntimeProcess:
    """A process with NumPy and one runtime, in an empty folder; it ends with this one."""

    def __init__(self, runtime: str) -> None:
        """Starts it.

        Args:
            runtime: `saved_model`, `litert` or `onnx`.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="soundmill-")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", f"import json, os, sys\nimport numpy as np\n{LOADERS[runtime]}{_SERVE}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            cwd=self._folder.name, env={**inherited, **_ENVIRONMENT, "HOME": self._folder.name},
        )  # fmt: skip

    def load(self, path: Path) -> None:
        """Loads an export, which takes the place of the one before.

        Raises:
            RunError: the runtime cannot load it.
        """
        self._ask({"load": str(path)})

    def run(self, values: NDArray[np.float32] | str) -> Mapping[str, NDArray[Any]]:
        """Returns the outputs of the export by name, for a batch, or for the file of a path.

        Raises:
            RunError: the runtime cannot run it.
        """
        inputs, outputs = (str(Path(self._folder.name) / name) for name in ("inputs.npy", "outputs.npz"))
        path = values if isinstance(values, str) else ""
        if not path:
            np.save(inputs, values)
        self._ask({"path": path, "inputs": inputs, "outputs": outputs})
        with np.load(outputs, allow_pickle=False) as found:
            return dict(found)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def _ask(self, request: dict[str, str]) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101 - they are pipes
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        except BaseException:
            runtime_process.cache_clear()  # half an answer would be taken for the next one
            raise
        if not line:
            runtime_process.cache_clear()
            code = self._process.wait()
            raise RunError(f"the process that runs the export by its own runtime ended with {code}")
        if answer := json.loads(line):
            raise RunError(f"its own runtime cannot run the export: {' '.join(answer.split())}")


@functools.cache
def runtime_process(runtime: str) -> RuntimeProcess:
    """Returns the process of a runtime, which loads it once: TensorFlow takes seconds."""
    process = RuntimeProcess(runtime)
    atexit.register(process.close)
    return process
