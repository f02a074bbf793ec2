"""What the data of a model page is: clips by class and partition, groups, equal contents, rejects and warnings."""

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from features.sources import leaks, name_stems
from features.sources.corrections import corrections_text
from features.sources.paths import csv_path
from features.sources.policies import MESSAGES
from features.sources.rejects import read_csv
from features.store.clips_table import clips_batches, read_clips
from features.store.layout import Layout
from features.store.manifest import Manifest

_EXAMPLES = 3
_COLUMNS = ("path", "label", "group", "partition", "seconds", "warning")


def describe_set(layout: Layout, manifest: Manifest) -> dict[str, Any]:
    """Returns what there is to say about the clips of a feature set, ready for JSON.

    Raises:
        RunError: the clips table cannot be read.
    """
    clips = read_clips(layout, manifest, _COLUMNS)
    repeated = leaks.repeated_contents(clips_batches(layout, manifest, leaks.CONTENT))
    equal = leaks.equal_contents(clips_batches(layout, manifest, leaks.COLUMNS), repeated,
                                 "featurize with --group content")  # fmt: skip
    names = [name for name in manifest.partitions if manifest.rows([name])]
    table = clips.group_by(["label", "partition"]).aggregate([([], "count_all"), ("seconds", "sum")]).to_pylist()
    cells = {(row["label"], row["partition"]): (row["count_all"], row["seconds_sum"]) for row in table}
    return {
        "root": manifest.source.get("root"),
        "source": {name: value for name, value in manifest.source.items() if name not in ("kind", "root")},
        "columns": manifest.options.get("columns"),
        "chosen": _chosen(manifest.options),
        "partitions": names,
        "classes": [
            [label, [list(cells.get((label, name), (0, 0.0))) for name in names]] for label in manifest.classes
        ],
        "all": [_of_partition(clips, name) for name in names],
        "groups_shared": _shared_groups(clips),
        "remarks": [*equal, *name_stems.spread_stems(clips)],
        "rejects": _rejects(layout, manifest),
        "warnings": _warnings(clips),
        "decoders": manifest.decoders,
        "corrections": _corrections(manifest),
    }  # fmt: skip


def _chosen(options: Mapping[str, Any]) -> list[str]:
    """Returns the options that chose and divided the clips, as they stand on the command line; none by default."""
    split = options.get("split")
    values = {**options, "split": split and "/".join(map(str, split))}
    return [f"--{name} {values[name]}" for name in ("group", "split", "limit") if values.get(name) is not None]


def _corrections(manifest: Manifest) -> dict[str, Any] | None:
    """Returns what reviews have changed, None without any."""
    record = manifest.corrections
    if record is None:
        return None
    reviews = [file["path"] for file in record["files"]]
    return {"changed": corrections_text(record), "found right": record["right"], "reviews": reviews}


def _of_partition(clips: pa.Table, name: str) -> dict[str, Any]:
    """Returns clips, groups and durations of a partition."""
    mine = clips.filter(pc.equal(clips["partition"], name))
    ends = pc.min_max(mine["seconds"]).as_py()
    return {
        "clips": len(mine),
        "groups": pc.count_distinct(mine["group"]).as_py(),
        "seconds": pc.sum(mine["seconds"]).as_py(),
        "shortest": ends["min"],
        "median": pc.quantile(mine["seconds"], 0.5)[0].as_py(),
        "longest": ends["max"],
    }


def _shared_groups(clips: pa.Table) -> int:
    """Returns how many groups are in more than one partition."""
    by_group = clips.group_by("group").aggregate([("partition", "count_distinct")])
    return int(pc.sum(pc.greater(by_group["partition_count_distinct"], 1)).as_py() or 0)


def _rejects(layout: Layout, manifest: Manifest) -> list[dict[str, Any]]:
    """Returns the rejects by reason, the most frequent first, each with the first few of its files."""
    found: dict[str, list[tuple[str, str]]] = {}
    with contextlib.suppress(OSError, ValueError):  # who cannot read the table has its counts
        for reject in read_csv(layout.path(manifest.rejects_file)):
            found.setdefault(str(reject.reason), []).append((csv_path(reject.path), reject.message))
    counts = Counter(manifest.counts["rejects"])
    return [{"reason": reason, "files": files, "examples": [list(one) for one in found.get(reason, [])[:_EXAMPLES]]}
            for reason, files in counts.most_common()]  # fmt: skip


def _warnings(clips: pa.Table) -> list[dict[str, Any]]:
    """Returns the clips that are used all the same by warning, with what it says and the first few of its paths."""
    warned = clips.filter(pc.fill_null(pc.not_equal(clips["warning"], ""), False)).select(["path", "warning"])
    by_warning: dict[str, list[str]] = {}
    counts: Counter[str] = Counter()
    for row in warned.to_pylist():
        for warning in row["warning"].split(";"):
            counts[warning] += 1
            _add(by_warning.setdefault(warning, []), row["path"])
    return [
        {"warning": warning, "clips": number, "message": MESSAGES.get(warning, ""), "examples": by_warning[warning]}
        for warning, number in counts.most_common()
    ]


def _add(examples: list[str], path: str) -> None:
    if len(examples) < _EXAMPLES:
        examples.append(csv_path(path))


def labels_to_choose(manifest: Manifest, classes: Sequence[str]) -> list[str]:
    """Returns the labels that a person may give a clip: those of the set, and then those of the network alone."""
    return [*manifest.classes, *(label for label in classes if label not in manifest.classes)]
