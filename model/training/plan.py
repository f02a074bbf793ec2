"""What a new training is to be: its settings, as far as the features and the recordings at hand allow them."""

from dataclasses import dataclass

from features.errors import UsageError
from features.runtime.log import LOG
from features.sources.paths import BACKGROUND_FOLDER
from features.store.manifest import Manifest
from model.training.partitions import check
from model.training.recipes import choose_settings
from model.training.settings import Given, Settings, option, shown


@dataclass(frozen=True)
class Plan:
    """A training that can be done.

    Attributes:
        settings: of the training.
        noise_folder: recordings of background noise for it, None where it uses none.
        left_out: settings of the network's recipe that are off, as they cannot be here, with why.
    """

    settings: Settings
    noise_folder: str | None
    left_out: dict[str, str]

    def log_left_out(self) -> None:
        """Logs what is left out, a line a reason."""
        for reason in dict.fromkeys(self.left_out.values()):
            names = [option(name) for name, why in self.left_out.items() if why == reason]
            LOG.info("training without %s: %s", ", ".join(names), reason)


def plan_training(features: str, manifest: Manifest, given: Given, noise: str | None = None) -> Plan:
    """Returns what a new training is to be.

    Args:
        features: a feature set.
        manifest: its state.
        given: settings that differ from those of the network's recipe.
        noise: folder of recordings of background noise, None for that of the source.

    Raises:
        UsageError: there is no such training, or what was asked for cannot be with these features.
    """
    # These load the front end, which is not needed for --help.
    from model.training.augment import impossible
    from model.training.noise import find_noise

    settings = choose_settings(manifest.spec.shape, given)
    check(manifest, settings, features)
    folder = find_noise(manifest.source["root"], noise)
    if settings.labels.silence_share and folder is None:
        raise UsageError(
            f"--silence-share {settings.labels.silence_share:g} takes recordings of background noise, and there is no "
            f"folder {BACKGROUND_FOLDER} in the source; give one with --noise, or leave --silence-share out"
        )
    left_out = impossible(settings, manifest.spec, folder is not None)
    for name, reason in left_out.items():
        if name in given:
            raise UsageError(f"{option(name)} {shown(given[name])} cannot be done: {reason}; leave it out")
    settings = settings.with_given(dict.fromkeys(left_out, 0))
    is_used = settings.augmentation.noise_probability or settings.labels.silence_share
    if noise and not is_used:
        raise UsageError(f"--noise {noise} would not be used: give --noise-probability too, the share of clips that "
                         "get noise, or --silence-share")  # fmt: skip
    return Plan(settings, folder if is_used else None, left_out)
