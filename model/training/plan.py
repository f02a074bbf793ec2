"""What a new training is to be: its settings, as far as the features and the recordings at hand allow them."""

from dataclasses import dataclass

from features.errors import UsageError
from features.runtime.log import LOG
from features.sources.audio_names import BACKGROUND_FOLDER
from features.store.manifest import Manifest
from model.training.applicable import check_given
from model.training.partitions import check
from model.training.recipes import choose_settings
from model.training.section import option, shown
from model.training.settings import Given, Settings


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


# Settings that only say more of what others switch on, and those.
_NEEDS = {
    "left_out": ("splits",),
    "split_seed": ("splits",),
    "unknown_share": ("classes", "unknown"),
    "time_mask_seconds": ("time_masks",),
    "frequency_mask_share": ("frequency_masks",),
    "noise_snr_db": ("noise_probability",),
}


def uses_noise(settings: Settings) -> bool:
    """Returns whether a training takes recordings of background noise."""
    return bool(settings.augmentation.noise_probability or settings.labels.silence_share)


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

    settings = choose_settings(manifest.spec, given)
    check_given(settings, given)
    check(manifest, settings, features)
    if settings.labels.silence_share and manifest.spec.front_end == "embedding":
        raise UsageError(
            f"--silence-share {settings.labels.silence_share:g} makes spectra louder and softer, which embeddings are "
            "not: leave it out, and featurize recordings without a sound of interest as a class of their own"
        )
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
    _check_used(settings, given)
    if noise and not uses_noise(settings):
        raise UsageError(f"--noise {noise} would not be used: give --noise-probability too, the share of clips that "
                         "get noise, or --silence-share")  # fmt: skip
    return Plan(settings, folder if uses_noise(settings) else None, left_out)


def _check_used(settings: Settings, given: Given) -> None:
    """Raises `UsageError` for what is given and would do nothing; not where what switches it on is given as off."""
    chosen = settings.flat()
    for name, switches in _NEEDS.items():
        if name in given and not any(switch in given or chosen[switch] for switch in switches):
            raise UsageError(f"{option(name)} {shown(chosen[name])} would not be used: give "
                             f"{' or '.join(map(option, switches))} too, or leave it out")  # fmt: skip
