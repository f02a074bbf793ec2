"""Runs a network for scoring, without TensorFlow: by LiteRT, or by OpenVINO where it is installed, which is faster.

Every batch has the same number of rows and is computed by one thread: a network's last digits depend on the shape of
what it is given, and a clip's probabilities must not depend on how many others came with it, nor on the cores.
"""

import functools
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError
from features.frontend.spectrogram import FrontEnd
from features.io.filesystem import Location
from features.networks.litert import LiteRt
from features.networks.pool import RunnerPool
from model.inference.artifact import networks_folder, read_description
from model.inference.artifact_description import ArtifactDescription
from model.inference.embedding_output import with_embeddings
from model.inference.litert import BATCH_CLIPS
from model.inference.precision import PRECISIONS, read_network
from model.inference.tensorflow_setup import load_openvino

EXECUTORS = {"litert": "ai-edge-litert", "openvino": "openvino"}
"""Names of the executors, and the packages that they are."""

_cores: dict[int, Any] = {}  # of OpenVINO, by process

_Run = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
_Compiled = tuple[_Run, tuple[int, ...]]


def choose_executor(requested: str) -> str:
    """Returns the name of an executor: the one that is requested, or the fastest that is installed for `auto`.

    Raises:
        UsageError: it is not installed.
    """
    if requested == "auto":
        return "openvino" if find_spec("openvino") else "litert"
    if requested == "openvino" and not find_spec("openvino"):
        raise UsageError("--executor openvino takes a package that is not installed: pip install openvino")
    return requested


def installed_executors() -> list[str]:
    """Returns the names of the executors that are installed."""
    return [name for name in EXECUTORS if name != "openvino" or find_spec(name)]


def executor_version(name: str) -> str:
    """Returns name and version of an executor; another one may give other last digits."""
    from importlib.metadata import version

    return f"{name} {version(EXECUTORS[name])}"


@dataclass(frozen=True)
class _Instance:
    """A network and the memory that it computes in, for one thread at a time.

    Attributes:
        run: computes each output for a whole batch, of shape (BATCH_CLIPS, ...).
        sizes: values of each output, a clip.
        filled: a batch that is filled up from fewer rows.
    """

    run: _Run
    sizes: tuple[int, ...]
    filled: NDArray[np.float32]


class Executor:
    """A network ready for use, by any number of threads.

    Each thread that computes has an instance of the network for itself, of a `RunnerPool`. An instance takes as much
    memory as the network's layers make of a batch, and a third of a second to make. Requests to one model that OpenVINO
    has compiled for one thread would save that memory, but it computes them one after another.

    Attributes:
        spec: the front end whose features it takes.
        classes: labels in the order of its outputs.
        calibration: of its probabilities.
        output_form: how they follow from its outputs.
        networks: folder with the network that its front end runs, None where no features are computed.
    """

    def __init__(
        self, content: bytes, description: ArtifactDescription, name: str, networks: Location | None = None
    ) -> None:
        """Loads a network.

        Args:
            content: as `model.inference.litert.convert` gives it, or `with_embeddings` makes it of that.
            description: of its artifact.
            name: of the executor.
            networks: see `Executor`.
        """
        self._loaded = content, description, name
        self.networks = networks
        self.spec = description.spec
        self.classes = description.classes
        self.calibration = description.calibration
        self.output_form = description.outputs
        make_run = _openvino(content) if name == "openvino" else functools.partial(_litert, content)
        # Nothing there refers to this object: the memory of its networks goes with it, and not when a circle is found.
        self._instances = RunnerPool(functools.partial(_make_instance, make_run, self.spec.shape))
        with self._instances.taken() as first:
            self._sizes = first.sizes

    def probabilities(self, batch: NDArray[np.floating]) -> NDArray[np.float32]:
        """Returns the probability of each class: (clips, *spec.shape) to (clips, classes)."""
        return self.output_form.probabilities(self.outputs(batch))

    def outputs(self, batch: NDArray[np.floating]) -> NDArray[np.float32]:
        """Returns what the network gives, before a softmax: (clips, *spec.shape) to (clips, classes)."""
        return self._compute(batch)[0]

    def front_end(self) -> FrontEnd:
        """Returns what computes its features, for one thread.

        Raises:
            UsageError: the network that it runs is missing or damaged.
        """
        return FrontEnd(self.spec, self.networks)

    def with_embeddings(self) -> "Executor":
        """Returns one of the same network with an output for embeddings.

        Raises:
            UsageError: the network does not end with a dense layer.
        """
        content, description, name = self._loaded
        return Executor(with_embeddings(content), description, name, self.networks)

    @property
    def embedding_size(self) -> int:
        """Values of the embedding of a clip; of a network that `with_embeddings` gave its second output."""
        _, size = self._sizes
        return size

    def probabilities_and_embeddings(
        self, batch: NDArray[np.floating]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns what `probabilities` does, and of the same pass the embeddings: (clips, embedding_size)."""
        outputs, embeddings = self._compute(batch)
        return self.output_form.probabilities(outputs), embeddings

    def _compute(self, batch: NDArray[np.floating]) -> list[NDArray[np.float32]]:
        """Returns each output of the network for any number of clips: (clips, values)."""
        results = [np.empty((len(batch), size), dtype=np.float32) for size in self._sizes]
        with self._instances.taken() as instance:
            for first in range(0, len(batch), BATCH_CLIPS):
                rows = batch[first : first + BATCH_CLIPS]
                if len(rows) == BATCH_CLIPS and rows.dtype == np.float32 and rows.flags.c_contiguous:
                    outputs = instance.run(rows[..., np.newaxis])
                else:
                    instance.filled[: len(rows), ..., 0] = rows
                    instance.filled[len(rows) :] = 0
                    outputs = instance.run(instance.filled)
                for result, output in zip(results, outputs, strict=True):
                    result[first : first + len(rows)] = output.reshape(BATCH_CLIPS, -1)[: len(rows)]
        return results


def load_executor(run: str | Path, name: str = "auto", precision: str = PRECISIONS[0]) -> Executor:
    """Loads the network of a run.

    Args:
        run: the run folder.
        name: of the executor, see `choose_executor`.
        precision: of the network, one of `PRECISIONS`.

    Raises:
        UsageError: the run has no such network, it is damaged, or the executor is not installed.
    """
    description = read_description(run)
    content = read_network(run, description, precision)
    return Executor(content, description, choose_executor(name), networks_folder(run))


def _make_instance(make_run: Callable[[], _Compiled], shape: tuple[int, ...]) -> _Instance:
    run, sizes = make_run()
    return _Instance(run, sizes, np.zeros((BATCH_CLIPS, *shape, 1), dtype=np.float32))


def _litert(content: bytes) -> _Compiled:
    network = LiteRt(content)
    return network.run, network.sizes


def _core() -> Any:
    """Returns this process' core of OpenVINO, which stays until the process ends.

    OpenVINO (2026.4.1) gives the thread that compiles its first network another stack for signals, and takes the memory
    of that away with the core, in whatever thread this goes. In another one the stack stays registered, and the next
    signal, such as Ctrl-C, would end the process without a word.
    """
    process = os.getpid()  # one that was forked has its parent's, whose threads it has not
    return _cores.get(process) or _cores.setdefault(process, load_openvino().Core())


def _openvino(content: bytes) -> Callable[[], _Compiled]:
    core = _core()
    with tempfile.TemporaryDirectory() as folder:  # OpenVINO reads this format from files alone
        path = Path(folder, "network.tflite")
        path.write_bytes(content)
        model = core.read_model(path)
    sizes = tuple(math.prod(output.shape[1:]) for output in model.outputs)
    settings = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,  # it would bind every worker process to the same core
    }

    def make_run() -> _Compiled:
        request = core.compile_model(model, "CPU", settings).create_infer_request()

        def run(batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
            request.infer({0: batch}, share_inputs=True)
            return [np.array(request.get_output_tensor(number).data) for number in range(len(sizes))]

        return run, sizes

    return make_run
