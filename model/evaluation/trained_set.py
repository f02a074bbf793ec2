"""The feature set that a run was trained on, and how another one, by the contents of its clips, stands to it."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from features.errors import SoundmillError, UsageError
from features.io.filesystem import absolute
from features.store.manifest import Manifest, load_manifest
from model.training.division import divide
from model.training.holdout import clips_of, is_selected
from model.training.rows import Rows
from model.training.run_folder import read_config, settings_of

# What makes one clip the same as another: its file's content, and where in it the clip is.
_CONTENT = ["content_hash", "start", "duration"]
_DIGEST_DIGITS = 8
# Bytes of the name of a set in that of a folder, which holds partitions too and has 255 at most.
_NAME_BYTES = 100


@dataclass(frozen=True)
class TrainedSet:
    """The feature set of a run's training, as far as the run's record tells.

    Attributes:
        run: the run folder.
        features: absolute path of the set; None where the run has no record of its training.
    """

    run: str
    features: str | None

    @classmethod
    def of(cls, run: str) -> "TrainedSet":
        """Returns the set that a run was trained on."""
        try:
            config = read_config(Path(run))
        except UsageError:  # a run folder takes no more than its model to be used
            config = None
        return cls(run, config.get("features") if config else None)

    def is_it(self, features: str, manifest: Manifest) -> bool:
        """Returns whether a set is this one: it has its rows, or lies where it lay."""
        return absolute(features) == self.features or settings_of(Path(self.run), manifest) is not None

    def folder_name(self, features: str, manifest: Manifest, test_on: tuple[str, ...]) -> str:
        """Returns the name of the folder of an evaluation.

        That on another set names the set and its state, so that it takes the place of no other evaluation but the same.
        """
        name = "+".join(test_on)
        if self.is_it(features, manifest):
            return name
        return name_of_other(name, features, manifest_digest(manifest))

    def count_seen(self, tested: Rows) -> int | None:
        """Returns how many clips have, by content, been trained on; None where what was trained on cannot be read.

        Args:
            tested: rows of this set or of another one. Those whose content no table knows count as not seen.
        """
        if self.features is None:
            return None
        try:
            # The rows that are tested may be this set's own, which may have moved.
            folder, manifest = str(tested.folder), tested.manifest
            settings = settings_of(Path(self.run), manifest)
            if settings is None:
                folder, manifest = self.features, load_manifest(self.features)
                settings = settings_of(Path(self.run), manifest)
            if settings is None:
                return None
            clips = clips_of(folder, manifest, settings.rows.train_on, _CONTENT)
            kept = divide(folder, manifest, settings).training
            if kept is not None:
                clips = clips.filter(pa.array(is_selected(clips, kept)))
        except SoundmillError:  # no reason not to test on another set
            return None
        seen = set(_contents(clips))
        return sum(content in seen for content in _contents(tested.clips(_CONTENT)) if content[0] is not None)


def name_of_other(name: str, path: str, digest: str) -> str:
    """Returns the name of the folder of an evaluation on something else than the run's own set: NAME@PATH-DIGEST.

    Args:
        name: of what was evaluated.
        path: of the set, folder or table that it was evaluated on, whose last part is taken.
        digest: in hexadecimal, of its state.
    """
    own = os.fsencode(os.path.basename(os.path.abspath(path)))[:_NAME_BYTES].decode("utf-8", "ignore")
    return f"{name}@{own}-{digest[:_DIGEST_DIGITS]}"


def manifest_digest(manifest: Manifest) -> str:
    """Returns the sha256 of the manifest of a set, in hexadecimal."""
    return hashlib.sha256(manifest.to_json().encode()).hexdigest()


def _contents(clips: pa.Table) -> list[tuple[str | None, int | None, int | None]]:
    return list(zip(*(clips[name].to_pylist() for name in _CONTENT), strict=True))
