"""Begins a training with the weights of an earlier run, which may know other classes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from features.errors import UsageError
from features.frontend.spec import FeatureSpec
from features.io.filesystem import absolute
from features.runtime.log import LOG
from model.inference.artifact import Artifact, load_artifact, read_description
from model.inference.run_store import MODEL_ALONE, local_run

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class InitialRun:
    """An earlier run, as the record of a training names it.

    Attributes:
        folder: absolute path of the run.
        network: name of its network.
        network_sha256: of its network, so that a training that resumes begins with the very same.
    """

    folder: str
    network: str
    network_sha256: str

    def give_weights(self, model: "keras.Model", classes: list[str]) -> None:
        """Gives a network the weights of the run.

        All layers take theirs over, the normalization of the features too, which the others were learnt with. Of the
        last layer, the outputs of the classes that both know are taken, and the others stay as they were drawn.

        Args:
            model: to be trained.
            classes: labels in the order of its outputs.

        Raises:
            UsageError: the run is gone or another one, or its network is of another kind.
        """
        with local_run(self.folder, MODEL_ALONE) as run:
            artifact = load_artifact(run)
        if artifact.digest != self.network_sha256:
            raise UsageError(f"{self.folder} was trained anew since this run began with its weights; train into a new "
                             "folder")  # fmt: skip
        self._copy(artifact, model, classes)
        new = [label for label in classes if label not in artifact.classes]
        LOG.info("beginning with the weights of %s; %s", self.folder, f"new classes: {', '.join(new)}" if new else
                 "it knows all classes")  # fmt: skip

    def _copy(self, earlier: Artifact, model: "keras.Model", classes: list[str]) -> None:
        from model.networks.layers import use_given_normalization  # which loads Keras

        mine, others = model.weights, earlier.network.weights
        if len(mine) != len(others):
            raise self._other_kind(f"it has {len(others)} weights, not {len(mine)}")
        places = {label: number for number, label in enumerate(earlier.classes)}
        common = [number for number, label in enumerate(classes) if label in places]
        theirs = [places[classes[number]] for number in common]
        last = [layer for layer in model.layers if layer.weights][-1]
        of_classes = {id(weight) for weight in last.weights}
        for weight, other in zip(mine, others, strict=True):
            value, is_output = np.asarray(other), id(weight) in of_classes
            expected = tuple(weight.shape)
            if value.shape != (*expected[:-1], len(earlier.classes)) if is_output else value.shape != expected:
                raise self._other_kind(f"its {weight.path} has shape {value.shape}, not {expected}")
            if is_output:
                kept = np.array(weight)
                kept[..., common] = value[..., theirs]
                value = kept
            weight.assign(value)
        use_given_normalization(model)

    def _other_kind(self, why: str) -> UsageError:
        return UsageError(f"--init {self.folder} holds another network than the one to be trained: {why}; leave "
                          f"--network out, or train without --init")  # fmt: skip


def initial_run(run: str, spec: FeatureSpec) -> InitialRun:
    """Returns an earlier run to begin with.

    Args:
        run: its folder.
        spec: of the features to train on.

    Raises:
        UsageError: it is no run with a network, or of features of another spec.
    """
    with local_run(run, MODEL_ALONE) as folder:
        description = read_description(folder)
    if description.spec.fingerprint != spec.fingerprint:
        raise UsageError(
            f"--init {run} was trained on features of another spec: {description.spec.differences(spec)} (there "
            "against here); featurize with its spec, or train without --init"
        )
    return InitialRun(absolute(run), description.network_name, description.network_sha256)
