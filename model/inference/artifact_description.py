"""What artifact.json says of a trained network."""

import json
from dataclasses import dataclass
from pathlib import Path

from features.errors import UsageError
from features.frontend.spec import FeatureSpec
from model.inference.calibration import UNCALIBRATED, Calibration
from model.inference.int8_network import Int8Network
from model.inference.linear_network import LINEAR
from model.inference.outputs import Outputs

FORMAT_NAME = "soundmill-model"
FORMAT_VERSION = 2
_READ_VERSIONS = (1, 2)
_KERAS_FILE, _LINEAR_FILE = "network.keras", "network.npz"


@dataclass(frozen=True)
class ArtifactDescription:
    """What artifact.json says of an artifact.

    Attributes:
        spec: the front end whose features the network takes.
        fingerprint: of the spec, as the front end of the training computed it.
        classes: labels in the order of the network's outputs.
        network_name: its name among the networks.
        returns_logits: whether a softmax turns its outputs into probabilities.
        trained_on: partitions that it was trained on.
        network_sha256: of the network's file for Keras, or of its weights where it is linear, which names this very
            training.
        litert_sha256: of its file for LiteRT; None for an artifact from before there was one.
        calibration: of its probabilities; format version 1 had none.
        int8: its network in int8, None without one.
    """

    spec: FeatureSpec
    fingerprint: str
    classes: list[str]
    network_name: str
    returns_logits: bool
    trained_on: tuple[str, ...]
    network_sha256: str
    litert_sha256: str | None
    calibration: Calibration = UNCALIBRATED
    int8: Int8Network | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` where thresholds are not those of the classes."""
        thresholds = self.calibration.thresholds
        if thresholds is not None and list(thresholds) != self.classes:
            raise ValueError(f"thresholds are of the classes in their order, {self.classes}, not of {list(thresholds)}")

    @property
    def network_file(self) -> str:
        """Name of the file that `network_sha256` is of."""
        return _LINEAR_FILE if self.network_name == LINEAR else _KERAS_FILE

    @property
    def outputs(self) -> Outputs:
        """How probabilities follow from the network's outputs."""
        return Outputs(self.returns_logits, self.calibration.temperature)

    def to_json(self) -> str:
        """Returns the content of artifact.json."""
        content = {
            "format": FORMAT_NAME,
            "format_version": FORMAT_VERSION,
            "spec": self.spec.to_dict(),
            "fingerprint": self.fingerprint,
            "classes": self.classes,
            "network": self.network_name,
            "returns_logits": self.returns_logits,
            "trained_on": list(self.trained_on),
            "network_sha256": self.network_sha256,
            "litert_sha256": self.litert_sha256,
            **self.calibration.to_dict(),
            **({} if self.int8 is None else {"int8": self.int8.to_dict()}),
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> "ArtifactDescription":
        """Reads an artifact.json; raises `UsageError` where it is damaged or has another format."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT_NAME or content["format_version"] not in _READ_VERSIONS:
                versions = " and ".join(map(str, _READ_VERSIONS))
                raise UsageError(f"{path} has a format that this soundmill does not read; it reads versions {versions}")
            return cls(
                spec=FeatureSpec.from_dict(content["spec"], where=str(path)),
                fingerprint=content["fingerprint"],
                classes=content["classes"],
                network_name=content["network"],
                returns_logits=content["returns_logits"],
                trained_on=tuple(content["trained_on"]),
                network_sha256=content["network_sha256"],
                litert_sha256=content.get("litert_sha256"),
                calibration=UNCALIBRATED if content["format_version"] == 1 else Calibration.from_dict(content),
                int8=Int8Network.from_dict(content["int8"]) if "int8" in content else None,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path} is damaged: {error!r}; train again") from error
