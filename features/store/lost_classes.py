"""Classes of a source of which a feature set has no clip."""

from collections import Counter

from features.sources.rejects import read_csv
from features.store.layout import Layout
from features.store.manifest import Manifest


def lost_classes(layout: Layout, manifest: Manifest) -> dict[str, int]:
    """Returns the labels of rejects that no clip of a state has, with the number of their rejects.

    A table of rejects that cannot be read has none, nor has one from before it had a column of labels.
    """
    try:
        rejects = read_csv(layout.path(manifest.rejects_file))
    except (OSError, ValueError):
        return {}
    counts = Counter(reject.label for reject in rejects if reject.label is not None)
    return {label: counts[label] for label in sorted(counts) if label not in manifest.classes}


def lost_text(lost: dict[str, int]) -> str:
    """Returns what there is to say about lost classes."""
    shown = ", ".join(f"{label} ({number:,} rejected)" for label, number in lost.items())
    return f"no file of these classes could be used: {shown}"
