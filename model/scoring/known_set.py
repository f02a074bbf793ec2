"""The feature set from which a scoring takes the features of clips that it holds already."""

from dataclasses import dataclass

import pyarrow as pa

from features.frontend.spec import FeatureSpec
from features.io.filesystem import Location, place
from features.runtime.log import LOG
from features.runtime.quantities import counted
from features.sources.paths import absolute_path
from features.store.known_features import KnownFeatures, write_index
from features.store.layout import Layout
from features.store.manifest import Manifest
from features.store.versions import library_versions
from model.inference.fitting_features import load_fitting

_INDEX = "features.arrow"


@dataclass(frozen=True)
class KnownSet:
    """A feature set of the model's spec.

    Attributes:
        layout: of the set.
        manifest: its state.
    """

    layout: Layout
    manifest: Manifest

    def index(self, folder: Location, sizes: pa.ChunkedArray) -> KnownFeatures:
        """Writes the index of what may be taken into the folder of a job; `sizes` are those of its files."""
        index = folder / _INDEX
        rows = write_index(index, self.layout, self.manifest, sizes)
        LOG.info("%s have features in %s that files of this scoring may have", counted(rows, "clip"), self.layout.root)
        return KnownFeatures(index, self.layout, self.manifest.spec)


def open_known_set(features: str | None, run: str, spec: FeatureSpec) -> KnownSet | None:
    """Opens the set that `--features` names, None for none.

    Raises:
        UsageError: there is no such set, or it was made with another spec than the model's.
    """
    if features is None:
        return None
    root = place(absolute_path(features))
    manifest, here = load_fitting(root, run, spec), library_versions(spec)
    others = [f"{name} {version}" for name, version in manifest.versions.items() if here.get(name, version) != version]
    if others:
        LOG.warning("warning: the features of %s were computed with other versions (%s): probabilities may differ in "
                    "their last digits from those without --features", features, ", ".join(others))  # fmt: skip
    return KnownSet(manifest.layout(root), manifest)
