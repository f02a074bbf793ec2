"""Classes of a source of which a feature set has no clip."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterable

from features.errors import Reject, SoundmillError
from features.io.filesystem import is_uri
from features.sources.folder_walk import class_folders
from features.sources.labels import clean_label
from features.sources.object_tree import list_objects
from features.sources.paths import escape_path
from features.sources.rejects import read_csv
from features.store.layout import Layout
from features.store.manifest import Manifest


def lost_classes(layout: Layout, manifest: Manifest, rejects: Iterable[Reject] | None = None) -> dict[str, int]:
    """Returns the labels of rejects that no clip of a state has, with the number of their rejects.

    A table of rejects that cannot be read has none, nor has one from before it had a column of labels.

    Args:
        layout: of the set.
        manifest: the state.
        rejects: those of the state, None to read them.
    """
    counts = _rejected(layout, manifest) if rejects is None else _labels(rejects)
    return {label: counts[label] for label in sorted(counts) if label not in manifest.classes}


def absent_folders(layout: Layout, manifest: Manifest) -> list[str]:
    """Returns the class folders of a state's source, where it is there, of which the state has neither clip nor reject.

    Args:
        layout: of the set.
        manifest: the state; a table and a label pattern have no class folders.
    """
    if manifest.source.get("kind") != "folder" or "pattern" in manifest.source:
        return []
    known = {*manifest.classes, *_rejected(layout, manifest)}
    names = map(escape_path, _class_folders(manifest.source["root"]))
    return [name for name in names if clean_label(name) not in known]


def _class_folders(root: str) -> list[bytes]:
    if not is_uri(root):
        return class_folders(os.fsencode(root))
    with contextlib.suppress(SoundmillError, OSError):  # who trains need not reach the store
        if listed := list_objects(root):
            return listed[1].folders
    return []


def _rejected(layout: Layout, manifest: Manifest) -> Counter[str]:
    try:
        return _labels(read_csv(layout.path(manifest.rejects_file)))
    except (OSError, ValueError):
        return Counter()


def _labels(rejects: Iterable[Reject]) -> Counter[str]:
    return Counter(reject.label for reject in rejects if reject.label is not None)


def lost_text(lost: dict[str, int]) -> str:
    """Returns what there is to say about lost classes."""
    shown = ", ".join(f"{label} ({number:,} rejected)" for label, number in lost.items())
    return f"no file of these classes could be used: {shown}"
