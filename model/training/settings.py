"""What makes a training what it is, and whether a feature set can be trained on."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypedDict, cast

from features.errors import UsageError
from features.runtime.log import LOG
from features.sources.partition import TRAINING, VALIDATION
from features.store.manifest import Manifest
from model.networks.registry import check_shape, network


class SettingsGiven(TypedDict, total=False):
    """Some of the settings, by their names in `Settings`: those that are given."""

    network: str
    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    seed: int
    train_on: tuple[str, ...]
    validate_on: tuple[str, ...] | None
    test_on: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """Everything that makes a training what it is, beside the features.

    Attributes:
        network: name of the network.
        epochs: how often the training partition is read at most.
        batch_size: clips per step.
        learning_rate: of Adam (Kingma and Ba, 2015).
        patience: epochs without a smaller validation loss before training stops; 0 trains to the end.
        seed: of weights, dropout and order.
        train_on: partitions trained on.
        validate_on: partitions that the best weights are chosen by; none for the last weights; None for `validation`
            or, where that is empty or trained on, a tenth of the training groups.
        test_on: partitions to test on before and after; none to leave that to model.evaluate.
    """

    network: str = "tutorial-cnn"
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 1e-3
    patience: int = 2
    seed: int = 0
    train_on: tuple[str, ...] = (TRAINING,)
    validate_on: tuple[str, ...] | None = None
    test_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises `UsageError` for a network that does not exist and for numbers that no training has."""
        network(self.network)
        for name, least in (("epochs", 1), ("batch_size", 1), ("patience", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"--{name.replace('_', '-')} is at least {least}, not {getattr(self, name)}")
        if self.seed >= 2**32:
            raise UsageError(f"--seed is below 2^32, not {self.seed}")
        if not 0 < self.learning_rate < float("inf"):
            raise UsageError(f"--learning-rate is above 0, not {self.learning_rate}")

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Settings":
        """Reads what `asdict` and JSON made of settings; what is missing has its default."""
        known = {field.name for field in fields(cls)}
        given = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content.items() if name in known
        }
        return replace(cls(), **cast(SettingsGiven, given))

    def difference(self, earlier: "Settings") -> str | None:
        """Names the first setting, beside the number of epochs, in which an earlier run differs; None for none."""
        mine, theirs = asdict(self), asdict(earlier)
        for name in mine:
            if name != "epochs" and mine[name] != theirs[name]:
                return f"--{name.replace('_', '-')} {_shown(theirs[name])}, not {_shown(mine[name])}"
        return None


def holds_out(manifest: Manifest, settings: Settings) -> bool:
    """Returns whether validation takes a tenth of the training groups, since nothing else is there to validate on."""
    if settings.validate_on is not None:
        return False
    return VALIDATION in settings.train_on or not (VALIDATION in manifest.partitions and manifest.rows([VALIDATION]))


def validation_partitions(manifest: Manifest, settings: Settings) -> tuple[str, ...]:
    """Returns the partitions validated on; none where validation is held out of training, or is not wanted."""
    if settings.validate_on is not None:
        return settings.validate_on
    return () if holds_out(manifest, settings) else (VALIDATION,)


def check(manifest: Manifest, settings: Settings, features: str) -> None:
    """Raises `UsageError` where a set cannot be trained on."""
    if len(manifest.classes) < 2:
        raise UsageError(
            f"training takes two classes at least, but {features} has only {manifest.classes[0]!r}; "
            "featurize a folder with one folder per class"
        )
    check_shape(network(settings.network), manifest.spec.shape)
    validate_on = validation_partitions(manifest, settings)
    purposes = (("train", settings.train_on), ("validate", validate_on), ("test", settings.test_on))
    for purpose, partitions in purposes:
        if partitions and not manifest.rows(partitions):
            names = ", ".join(partitions)
            clips = ", ".join(f"{name}: {manifest.rows([name]):,}" for name in manifest.partitions)
            raise UsageError(
                f"nothing to {purpose} on: the {names} partition of {features} is empty ({clips}). Featurize with "
                f"another --split or --group, so that its groups spread, or choose with --{purpose}-on"
            )
    for purpose, partitions in purposes[1:]:
        both = sorted(set(settings.train_on) & set(partitions))
        if both:
            raise UsageError(f"{purpose} on other clips than those trained on, but --train-on and --{purpose}-on both "
                             f"name {both[0]!r}")  # fmt: skip


def warn_of_test(manifest: Manifest, settings: Settings, test_on: tuple[str, ...]) -> None:
    """Warns where a test is on clips that the network learns from, or by which its best epoch is chosen."""
    for name in test_on:
        if name in settings.train_on:
            LOG.warning("warning: the network is trained on %s: the accuracy there says nothing about new clips", name)
        if name in validation_partitions(manifest, settings):
            LOG.warning("warning: the best epoch is chosen on %s: its accuracy is a little too high for new clips",
                        name)  # fmt: skip


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value) or "none"
    return "its default" if value is None else str(value)
