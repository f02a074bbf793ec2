"""What there is to say about the classes and partitions of clips."""

import pyarrow as pa

from features.sources.labels import alike_text, look_alike, with_separators
from features.sources.partition import PARTITIONS, TRAINING, count, without_clips

_SHOWN_LABELS = 5


def remarks(clips: pa.Table) -> list[str]:
    """Returns what there is to say about clips that no network can be trained on as they are."""
    counts, said = count(clips), []
    if len(counts) == 1:
        said.append(f"one class only, {next(iter(counts))}; training takes two")
    names = {name for by_partition in counts.values() for name in by_partition}
    if TRAINING not in names and names <= set(PARTITIONS):
        said.append("the training partition is empty; --group and --split say who belongs to it")
    without = without_clips(counts, (TRAINING,))
    if TRAINING in names and names <= set(PARTITIONS) and without:
        said.append(f"classes without a training clip, which no network learns: {', '.join(without)}")
    if several := with_separators(counts):
        more = f" and {len(several) - _SHOWN_LABELS} more" if len(several) > _SHOWN_LABELS else ""
        verbs = "label holds a separator and is" if len(several) == 1 else "labels hold a separator and are"
        said.append(f"{len(several):,} {verbs} taken as one class each: {', '.join(several[:_SHOWN_LABELS])}{more}; "
                    "where several labels are meant, give each clip one")  # fmt: skip
    if alike := look_alike(counts):
        pairs = "; ".join(map(alike_text, alike[:_SHOWN_LABELS]))
        more = f"; and {len(alike) - _SHOWN_LABELS} more" if len(alike) > _SHOWN_LABELS else ""
        said.append(f"labels that look alike are classes of their own: {pairs}{more}; give each class one name")
    return said
