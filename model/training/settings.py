"""What makes a training what it is, in sections of settings that check themselves."""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

from features.errors import UsageError
from features.sources.partition import TRAINING
from model.networks.registry import network
from model.training.section import Section, checked, fields_with_kinds, option, setting, shown

Given = Mapping[str, Any]
"""Some of the settings by their names, which no two sections share: those that are given."""


@dataclass(frozen=True)
class RowSettings(Section):
    """Which partitions are used for what; what each setting is stands in its help."""

    train_on: tuple[str, ...] = setting((TRAINING,), "partitions to train on, by commas")
    validate_on: tuple[str, ...] | None = setting(
        None, "partitions that the best weights are chosen by, by commas, or none to keep the last weights "
        "(validation; where that is empty, a tenth of the training groups, of linear inner folds of all)",
    )  # fmt: skip
    test_on: tuple[str, ...] = setting((), "partitions to test on before and after (none); model.evaluate says more")
    splits: int = setting(0, "divide the clips of --train-on by group into so many splits, and leave one out", least=0)
    split_seed: int = setting(0, "of the division into splits", least=0)
    left_out: int = setting(1, "number of the split that is left out, from 1", least=1)

    def __post_init__(self) -> None:
        """Checks the settings, and that the split that is left out is one of the splits."""
        super().__post_init__()
        if self.splits == 1 or (self.splits and self.left_out > self.splits):
            raise UsageError(f"one of two splits at least is left out, not --left-out {self.left_out} of --splits "
                             f"{self.splits}")  # fmt: skip


@dataclass(frozen=True)
class LabelSettings(Section):
    """Which labels are classes of their own, the share of what is none of them, and how sure a label is to be."""

    classes: tuple[str, ...] = setting(
        (), "labels to tell apart, by commas (all); all others become _unknown_, or with --unknown are not used"
    )
    unknown: tuple[str, ...] = setting(
        (), "labels that become _unknown_, by commas (none); all others, or those of --classes, are told apart"
    )
    unknown_share: float = setting(
        0.1, "clips of _unknown_ as a share of those of the labels that are told apart, drawn anew each epoch",
        above=0.0, most=100.0,
    )  # fmt: skip
    silence_share: float = setting(
        0.0, "clips of _silence_, cut from background noise, as the same share; 0 for no such class",
        least=0.0, most=100.0,
    )  # fmt: skip
    target_precision: float = setting(
        0.9, "of the threshold fitted for each class on validation, which score --threshold auto uses",
        above=0.0, most=1.0,
    )  # fmt: skip


@dataclass(frozen=True)
class Schedule(Section):
    """How the weights are learnt."""

    epochs: int = setting(10, "at most so many", least=1)
    batch_size: int = setting(64, "clips a step", least=1)
    best_by: str = setting(
        "loss", "of validation: the best epoch has the smallest loss, or the highest accuracy and of equals the "
        "smallest loss", choices=("loss", "accuracy"),
    )  # fmt: skip
    patience: int = setting(2, "stop after so many epochs without a better one; 0 never does", least=0)
    optimizer: str = setting("adam", "sgd has Nesterov momentum of .9", choices=("adam", "adamw", "sgd"))
    learning_rate: float = setting(1e-3, "of the optimizer, at its highest", above=0.0)
    schedule: str = setting(
        "constant", "of the learning rate; cosine falls to 0 at the last epoch", choices=("constant", "cosine")
    )
    warmup_epochs: float = setting(
        0.0, "epochs in which the learning rate rises from 0, a fifth of them at most", least=0.0
    )
    weight_decay: float = setting(0.0, "decoupled, of adamw and sgd; biases and normalisation do not decay", least=0.0)
    label_smoothing: float = setting(0.0, "share of a label that is spread over all classes", least=0.0, below=1.0)
    balance: str = setting(
        "none", "of uneven classes: by weights in the loss, or by drawing rare classes more often",
        choices=("none", "weights", "sampling"),
    )  # fmt: skip
    average_decay: float = setting(
        0.0, "a step, of the running average of the weights that is kept as the network, over a seventh of the "
        "training at most; 0 for none", least=0.0, below=1.0,
    )  # fmt: skip
    l2: float = setting(
        0.0, "of linear: half of it, times the sum of squared weights, adds to the loss; 0 for the best on validation",
        least=0.0,
    )  # fmt: skip
    precision: str = setting(
        "float32", "of the computation; mixed_bfloat16 where the processor has it",
        choices=("float32", "mixed_bfloat16"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Checks the settings, and refuses one that would do nothing."""
        super().__post_init__()
        if self.weight_decay and self.optimizer == "adam":
            raise UsageError(f"--weight-decay {self.weight_decay:g} is of adamw and sgd; with --optimizer adam give "
                             "--weight-decay 0")  # fmt: skip


@dataclass(frozen=True)
class Augmentation(Section):
    """How clips are changed at random while the network learns; never in validation, testing or scoring."""

    time_shift_seconds: float = setting(0.0, "a clip moves by at most so much, either way", least=0.0)
    time_stretch: float = setting(0.0, "a clip becomes faster or slower by at most this share", least=0.0, below=1.0)
    frequency_warp: float = setting(
        0.0, "its bands move up or down by at most this share of their number, as from other vocal tracts",
        least=0.0, below=1.0,
    )  # fmt: skip
    gain_db: float = setting(0.0, "it becomes louder or softer by at most so much", least=0.0)
    time_masks: int = setting(0, "stretches of frames blanked out", least=0)
    time_mask_seconds: float = setting(0.2, "longest of such a stretch", least=0.0)
    frequency_masks: int = setting(0, "ranges of bands blanked out", least=0)
    frequency_mask_share: float = setting(0.15, "widest of such a range, as a share of the bands", least=0.0, most=1.0)
    mixup_alpha: float = setting(
        0.0, "clips are mixed in pairs, by shares from a beta distribution of this parameter; 0 for none", least=0.0
    )
    noise_probability: float = setting(
        0.0, "share of the clips that get background noise, from --noise or _background_noise_", least=0.0, most=1.0
    )
    noise_snr_db: tuple[float, float] = setting((0.0, 25.0), "least and most that a clip is louder than its noise")


@dataclass(frozen=True)
class Settings:
    """Everything that makes a training what it is, beside the features and the noise.

    Attributes:
        network: name of the network.
        seed: of weights, dropout, order and augmentation.
        rows: which partitions are used for what.
        labels: which labels are classes.
        schedule: how the weights are learnt.
        augmentation: how clips are changed at random.
    """

    network: str = "tutorial-cnn"
    seed: int = 0
    rows: RowSettings = field(default_factory=RowSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    schedule: Schedule = field(default_factory=Schedule)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """Raises `UsageError` for a network that does not exist and for a seed that no generator takes."""
        network(str(self.network))  # a recipe file may hold anything
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or not 0 <= self.seed < 2**32:
            raise UsageError(f"--seed is a whole number from 0 to below 2^32, not {self.seed}")

    def with_given(self, given: Given) -> "Settings":
        """Returns these settings with some of them replaced; raises `UsageError` for a name that is none of them."""
        unknown = sorted(set(given) - set(SETTING_NAMES))
        if unknown:
            raise UsageError(f"no setting {unknown[0]!r}; there are {', '.join(SETTING_NAMES)}")
        changed: dict[str, Any] = {name: value for name, value in given.items() if SETTING_NAMES[name] is None}
        for section in SECTIONS:
            inside = {name: value for name, value in given.items() if SETTING_NAMES[name] == section}
            if inside:
                changed[section] = replace(getattr(self, section), **inside)
        return replace(self, **changed)

    def flat(self) -> dict[str, Any]:
        """Returns all settings by their names."""
        return {name: getattr(getattr(self, section) if section else self, name)
                for name, section in SETTING_NAMES.items()}  # fmt: skip

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Settings":
        """Reads what `asdict` and JSON made of settings; what is missing, as of older records, has its default.

        A record from before there were sections is flat, and holds the same names.
        """
        flat = {name: value for name, value in content.items() if name not in SECTIONS}
        for section in SECTIONS:
            flat |= content.get(section, {})
        return cls().with_given({name: value for name, value in flat.items() if name in SETTING_NAMES})

    def difference(self, earlier: "Settings") -> str | None:
        """Names the first setting in which an earlier run differs; None for none.

        The number of epochs may differ, but where what a step does follows from it.
        """
        mine, theirs = self.flat(), earlier.flat()
        steps_follow = earlier.schedule.schedule != "constant" or earlier.schedule.average_decay
        for name in mine:
            if mine[name] != theirs[name] and (name != "epochs" or steps_follow):
                return f"{option(name)} {shown(theirs[name])}, not {shown(mine[name])}"
        return None


SECTIONS: dict[str, type[Section]] = {
    "rows": RowSettings,
    "labels": LabelSettings,
    "schedule": Schedule,
    "augmentation": Augmentation,
}
"""The sections of the settings, by their names."""

SETTING_NAMES: dict[str, str | None] = {"network": None, "seed": None} | {
    one.name: name for name, section in SECTIONS.items() for one in fields(section)
}
"""All settings by their names, with the section that each is in."""


def is_whole(name: str) -> bool:
    """Returns whether a setting of a section is a whole number."""
    return _declared(name)[1] is int


def check_value(name: str, value: Any) -> None:
    """Raises `UsageError` where a setting of a section takes no such value, whatever the other settings are."""
    checked(*_declared(name), value)


def _declared(name: str) -> tuple[Field[Any], Any]:
    section = SECTIONS[SETTING_NAMES[name] or ""]
    return next(pair for pair in fields_with_kinds(section) if pair[0].name == name)
