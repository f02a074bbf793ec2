"""The one thing that scoring needs: network, front end and class names, in a folder that is whole or not there."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError, one_line
from features.frontend.spec import FeatureSpec
from features.io.atomic import atomic_folder, write_file
from features.io.filesystem import Location
from features.runtime.invocation import command_line
from model.inference.artifact_description import ArtifactDescription
from model.inference.calibration import UNCALIBRATED, Calibration
from model.inference.front_end_network import NETWORKS, keep_network
from model.inference.linear_network import LINEAR, LinearNetwork
from model.inference.litert import convert
from model.inference.outputs import Outputs
from model.inference.tensorflow_setup import load_tensorflow

if TYPE_CHECKING:
    import keras

FOLDER = "model"
DESCRIPTION_FILE = "artifact.json"
_LITERT_FILE = "network.tflite"


@dataclass(frozen=True)
class Artifact:
    """A trained network and what it takes to use it.

    Attributes:
        network: the Keras model: (clips, *spec.shape, 1) to (clips, classes).
        spec: the front end whose features it was trained on.
        classes: labels in the order of the network's outputs.
        network_name: its name among the networks.
        returns_logits: whether a softmax turns its outputs into probabilities.
        trained_on: partitions that it was trained on.
        digest: sha256 of the saved network, which names this very training.
        calibration: of its probabilities.
    """

    network: "keras.Model"
    spec: FeatureSpec
    classes: list[str]
    network_name: str
    returns_logits: bool
    trained_on: tuple[str, ...]
    digest: str = ""
    calibration: Calibration = UNCALIBRATED

    @property
    def outputs(self) -> Outputs:
        """How probabilities follow from the network's outputs."""
        return Outputs(self.returns_logits, self.calibration.temperature)

    def probabilities(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Computes, by Keras, the probability of each class: (clips, *spec.shape) to (clips, classes)."""
        return self.outputs.probabilities(self.network(features[..., np.newaxis], training=False).numpy())


Calibrate = Callable[[bytes, ArtifactDescription], Calibration]
"""Calibrates a network before it is saved; takes it for LiteRT, as scoring runs it, and its description so far."""


def save_artifact(
    run: Path, artifact: Artifact, calibrate: Calibrate | None = None, networks: Location | None = None
) -> Path:
    """Writes the artifact of a network of Keras into a run folder and returns where it lies.

    Args:
        run: the run folder.
        artifact: what to save.
        calibrate: gives it another calibration than it has.
        networks: folder with the network that the front end runs, which the run keeps too.

    Raises:
        UsageError: that network is missing or damaged.
    """
    # A copy that was never compiled: the optimizer's state, twice the size of the weights, stays in the checkpoint.
    network = type(artifact.network).from_config(artifact.network.get_config())
    network.set_weights(artifact.network.get_weights())

    def write(path: Path) -> bytes:
        network.save(path)
        # As it is read: what a layer keeps beside its weights is made anew then.
        return convert(_load_network(path), artifact.spec.shape)

    description = ArtifactDescription(
        spec=artifact.spec,
        fingerprint=artifact.spec.fingerprint,
        classes=artifact.classes,
        network_name=artifact.network_name,
        returns_logits=artifact.returns_logits,
        trained_on=artifact.trained_on,
        network_sha256="",
        litert_sha256=None,
        calibration=artifact.calibration,
    )
    return save_network(run, description, write, calibrate, networks)


def save_network(
    run: Path,
    description: ArtifactDescription,
    write: Callable[[Path], bytes],
    calibrate: Calibrate | None = None,
    networks: Location | None = None,
) -> Path:
    """Writes an artifact into a run folder, which is whole or not there, and returns where it lies.

    Args:
        run: the run folder.
        description: of the network, without the digests of its files.
        write: writes the network into the file of a path, and returns it for LiteRT.
        calibrate: gives it another calibration than it has.
        networks: folder with the network that the front end runs, which the run keeps too.

    Raises:
        UsageError: that network is missing or damaged.
    """
    with atomic_folder(run / FOLDER) as folder:
        keep_network(description.spec, networks, folder)
        path = folder / description.network_file
        litert = write(path)
        write_file(folder / _LITERT_FILE, litert)
        sha256 = hashlib.sha256(litert).hexdigest()
        description = replace(description, network_sha256=_sha256(path), litert_sha256=sha256)
        if calibrate:
            description = replace(description, calibration=calibrate(litert, description))
        write_file(folder / DESCRIPTION_FILE, description.to_json())
    return run / FOLDER


def networks_folder(run: str | Path) -> Path:
    """Returns the folder of a run with the network that its front end runs, which is there where it runs one."""
    return Path(run) / FOLDER / NETWORKS


def has_artifact(run: Path) -> bool:
    """Returns whether a run folder has an artifact, which it has when its training has ended."""
    return (run / FOLDER / DESCRIPTION_FILE).is_file()


def remove_artifact(run: Path) -> None:
    """Removes the artifact of a run folder; its description first, so that what is left is not taken for one."""
    if (run / FOLDER).is_dir():
        (run / FOLDER / DESCRIPTION_FILE).unlink(missing_ok=True)
        shutil.rmtree(run / FOLDER)


def read_description(run: str | Path) -> ArtifactDescription:
    """Reads what a run's artifact is, without loading TensorFlow.

    Raises:
        UsageError: the folder is not a run, its training did not end, or its description cannot be used.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise UsageError(f"no such run folder: {run}; make one with {command_line('model.train')}")
    if not has_artifact(folder):
        if (folder / "config.json").is_file():
            resume = f"{command_line('model.train')} --resume"
            raise UsageError(f"the training of {run} did not end, there is no {FOLDER} in it; resume with {resume}, "
                             "or train into a new folder")  # fmt: skip
        raise UsageError(f"{run} is not a run folder: it has no {FOLDER}/{DESCRIPTION_FILE}; "
                         f"give the --output of {command_line('model.train')}")  # fmt: skip
    description = ArtifactDescription.read(folder / FOLDER / DESCRIPTION_FILE)
    if description.spec.fingerprint != description.fingerprint:
        raise UsageError(f"{run} was trained on another version of the front end; featurize and train again")
    return description


def read_litert(run: str | Path, description: ArtifactDescription) -> bytes:
    """Returns a run's network for `model.inference.executor`; an artifact that has none has its network converted.

    Args:
        run: the run folder.
        description: what `read_description` returns.

    Raises:
        UsageError: the artifact is damaged.
    """
    if description.litert_sha256 is None:
        return convert(load_artifact(run).network, description.spec.shape)
    path = Path(run) / FOLDER / _LITERT_FILE
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != description.litert_sha256:
        raise UsageError(f"{path} is missing or not the network that {DESCRIPTION_FILE} describes; train again")
    return content


def load_artifact(run: str | Path) -> Artifact:
    """Loads a run's artifact, in Keras' safe mode: nothing in the file is executed.

    Args:
        run: the run folder.

    Raises:
        UsageError: the run has no artifact, or one that is damaged or holds code.
    """
    description = read_description(run)
    path = _network_path(run, description)
    load_tensorflow()
    try:
        network = (
            LinearNetwork.read(path).to_keras(description.spec.shape)
            if description.network_name == LINEAR
            else _load_network(path)
        )
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, OSError) as error:
        raise UsageError(f"{path} cannot be loaded: {one_line(error)}; train again") from error
    return Artifact(
        network=network,
        spec=description.spec,
        classes=description.classes,
        network_name=description.network_name,
        returns_logits=description.returns_logits,
        trained_on=description.trained_on,
        digest=description.network_sha256,
        calibration=description.calibration,
    )


def read_linear(run: str | Path, description: ArtifactDescription) -> LinearNetwork:
    """Reads the network of a run that is linear, without loading TensorFlow.

    Args:
        run: the run folder.
        description: what `read_description` returns.

    Raises:
        UsageError: the artifact is damaged.
    """
    return LinearNetwork.read(_network_path(run, description))


def count_parameters(run: str | Path) -> int:
    """Returns the number of parameters of a run's network, a linear one's without loading TensorFlow.

    Raises:
        UsageError: the run has no artifact, or one that is damaged or holds code.
    """
    description = read_description(run)
    if description.network_name == LINEAR:
        return read_linear(run, description).parameters
    return int(load_artifact(run).network.count_params())


def _network_path(run: str | Path, description: ArtifactDescription) -> Path:
    """Returns the file of a run's network; raises `UsageError` where it is not the one that is described."""
    path = Path(run) / FOLDER / description.network_file
    if not path.is_file() or _sha256(path) != description.network_sha256:
        raise UsageError(f"{path} is missing or not the network that {DESCRIPTION_FILE} describes; train again")
    return path


def _load_network(path: Path) -> "keras.Model":
    import keras

    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
