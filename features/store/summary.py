"""A feature set for people: what is in it, where it came from, and how it was made, as facts and as text."""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.frontend.presets import preset_name
from features.frontend.spec import FeatureSpec
from features.io.filesystem import is_uri
from features.runtime.invocation import command_line
from features.runtime.quantities import duration_text, size_text
from features.runtime.visible import name_column
from features.sources.corrections import corrections_text
from features.store.clips_table import clips_parts
from features.store.inventory import SetFile, Unreferenced, total_bytes, unreferenced
from features.store.layout import Layout
from features.store.manifest import Manifest
from features.store.run_log import read_runs
from features.store.run_table import LAST_RUNS, history_lines
from features.store.statistics import Statistics


@dataclass(frozen=True)
class Description:
    """A feature set and what follows from its clips.

    Attributes:
        layout: of the set.
        manifest: its committed state.
        clip_seconds: duration of each clip, float64 of shape (clips,).
        cells: clips and seconds by class and partition.
        durations: the shortest, the median and the longest clip in seconds, before they were fitted.
        disk_bytes: size of all files of the folder.
        unreferenced: the files that its committed state does not name.
        runs: lines of its run log, the earliest first.
    """

    layout: Layout
    manifest: Manifest
    clip_seconds: NDArray[np.float64]
    cells: dict[tuple[str, str], tuple[int, float]]
    durations: tuple[float, float, float]
    disk_bytes: int
    unreferenced: Unreferenced
    runs: list[dict[str, Any]]

    @property
    def seconds(self) -> float:
        """Duration of all clips."""
        return float(self.manifest.counts["seconds"])

    def cell(self, labels: Iterable[str], partitions: Iterable[str]) -> tuple[int, float]:
        """Returns clips and seconds of some classes in some partitions."""
        names = list(partitions)
        found = [self.cells.get((label, name), (0, 0.0)) for label in labels for name in names]
        return sum(clips for clips, _ in found), sum(seconds for _, seconds in found)


def describe(layout: Layout, manifest: Manifest) -> Description:
    """Reads what a set's folder says beside its manifest; raises `RunError` where the clips table cannot be read."""
    cells: dict[tuple[str, str], tuple[int, float]] = {}
    seconds = []
    for clips in clips_parts(layout, manifest, ["label", "partition", "seconds"]):
        grouped = clips.group_by(["label", "partition"]).aggregate([([], "count_all"), ("seconds", "sum")])
        for row in grouped.to_pylist():
            number, duration = cells.get((row["label"], row["partition"]), (0, 0.0))
            cells[row["label"], row["partition"]] = number + row["count_all"], duration + row["seconds_sum"]
        seconds.append(clips["seconds"].to_numpy())
    together = np.concatenate(seconds)
    durations = float(together.min()), float(np.quantile(together, 0.5)), float(together.max())
    others, runs = unreferenced(layout, manifest), read_runs(layout)
    return Description(layout, manifest, together, cells, durations, _disk_bytes(layout), others, runs)


def _disk_bytes(layout: Layout) -> int:
    if not layout.files.is_local:
        return sum(entry.size for entry in layout.files.list(layout.root))
    size = 0
    for place, _, names in os.walk(layout.root):
        for name in names:
            with contextlib.suppress(OSError):  # a run in progress removes files, or a link leads nowhere
                size += os.path.getsize(os.path.join(place, name))
    return size


def figures_of(description: Description) -> dict[str, Any]:
    """Returns the facts ready for JSON."""
    manifest, others = description.manifest, description.unreferenced
    shortest, median, longest = description.durations
    return {
        "state": manifest.state,
        "earlier_states": others.states,
        "source": manifest.source,
        "preset": preset_name(manifest.spec),
        "spec": manifest.spec.to_dict(),
        "fingerprint": manifest.spec.fingerprint,
        "network": manifest.network,
        "corrections": manifest.corrections,
        "shape": list(manifest.spec.shape),
        "format": manifest.storage_format,
        "shards": {name: len(shards) for name, shards in manifest.partitions.items()},
        "shard_bytes": sum(shard.bytes for shard in manifest.all_shards),
        "disk_bytes": description.disk_bytes,
        "unreferenced": {
            name: {"files": len(files), "bytes": total_bytes(files)}
            for name, files in (("by_none", others.by_none), ("by_earlier_states", others.by_earlier))
        },
        "unreadable_states": list(others.unreadable),
        "clips": manifest.counts["clips"],
        "seconds": description.seconds,
        "durations": {"min": shortest, "median": median, "max": longest},
        "classes": {
            label: {
                name: {"clips": clips, "seconds": seconds}
                for name in manifest.partitions
                for clips, seconds in [description.cell([label], [name])]
            }
            for label in manifest.classes
        },
        "decoders": manifest.decoders,
        "rejected": manifest.counts["rejected"],
        "rejects": manifest.counts["rejects"],
        "warnings": manifest.counts["warnings"],
        "statistics": {
            name: {"mean": mean, "standard_deviation": deviation} for name, mean, deviation in _moments(manifest)
        },
        "versions": manifest.versions,
        "runs": description.runs[-LAST_RUNS:],
    }


def lines_of(description: Description) -> list[str]:
    """Returns the facts as lines of text."""
    manifest, spec = description.manifest, description.manifest.spec
    root = manifest.source.get("root", "")
    gone = "" if is_uri(root) or os.path.exists(root) else " (no longer there)"
    shards = manifest.all_shards
    counts = ", ".join(f"{len(held):,} {name}" for name, held in manifest.partitions.items() if held)
    lines = [
        f"source      {root}{gone}",
        *(f"            {name}: {value}" for name, value in manifest.source.items() if name != "root"),
        f"chosen by   {_pairs(manifest.options)}",
        *_correction_lines(manifest),
        f"policies    {_pairs(manifest.policies)}",
        *_network_lines(manifest),
        f"state       {manifest.state}, format {manifest.storage_format}; {_earlier(description.unreferenced.states)}",
        f"shards      {len(shards):,} ({counts}), {size_text(sum(shard.bytes for shard in shards))}; "
        f"the whole folder {size_text(description.disk_bytes)}",
        *_unreferenced_lines(description),
        f"versions    {_pairs(manifest.versions)}",
        "",
        f"spec        {_spec_name(spec)}; a clip has shape {spec.shape}, {spec.storage_dtype}",
        *(f"            {name} = {_toml(value)}" for name, value in spec.to_dict().items()),
        f"            fingerprint {spec.fingerprint[:16]}",
        "",
        *_table(description),
        "",
        "clips last  {}, median {}, at most {}".format(*map(duration_text, description.durations)),
        f"rejects     {_counted(manifest.counts['rejects'])}; the table is {manifest.rejects_file}",
        f"warnings    {_counted(manifest.counts['warnings'])}",
        f"decoders    {_counted(manifest.decoders)}",
    ]
    for place, (name, mean, deviation) in enumerate(_moments(manifest)):
        lines.append(f"{'' if place else 'values':12}{name}: mean {mean:.6g}, standard deviation {deviation:.6g}")
    return [*lines, "", *history_lines(description.runs)]


def _correction_lines(manifest: Manifest) -> list[str]:
    """Returns what reviews have changed, nothing where there are none."""
    record = manifest.corrections
    if record is None:
        return []
    files = [f"            by {file['path']}, sha256 {file['sha256'][:16]}" for file in record["files"]]
    return [f"corrected   {corrections_text(record)}; {record['right']:,} found right", *files]


def _network_lines(manifest: Manifest) -> list[str]:
    """Returns what is known of the network of the front end, nothing where it has none."""
    network = manifest.network
    if network is None:
        return []
    return [
        f"network     {network['name'] or 'of a name that is not known'}, {size_text(network['bytes'])}, kept as "
        f"networks/{network['file']}",
        f"            licence: {network['licence'] or 'not given'}; source: {network['source'] or 'not given'}",
    ]


def _earlier(states: list[int]) -> str:
    if not states:
        return "no earlier ones there"
    if len(states) == 1:
        return f"state {states[0]} is still there"
    return f"{len(states):,} earlier ones are still there, {states[0]} to {states[-1]}"


def _unreferenced_lines(description: Description) -> list[str]:
    """Returns what a prune could remove."""
    others = description.unreferenced
    lines = [f"            {why}" for why in others.unreadable.values()]
    if not (others.by_none or others.by_earlier):
        return ["to prune    nothing", *lines]
    held = ((others.by_earlier, "of earlier states only"), (others.by_none, "that no state names"))
    texts = [f"{_files_text(files)} {which}" for files, which in held if files]
    prune = "removes what of it is older than a day"
    if others.unreadable:
        prune = "refuses while it cannot read an earlier state:"
    return [
        f"to prune    {', '.join(texts)};",
        f"            {command_line('features.prune', description.layout.root)} {prune}",
        *lines,
    ]


def _files_text(files: list[SetFile]) -> str:
    return f"{size_text(total_bytes(files))} in {len(files):,} {'file' if len(files) == 1 else 'files'}"


def _table(description: Description) -> list[str]:
    """Returns clips by class and partition, and how long the clips of a class are together."""
    manifest = description.manifest
    names = list(manifest.partitions)
    head, *titles = name_column(["class", *manifest.classes, "all"])
    rows = [*([label] for label in manifest.classes), manifest.classes]
    hours = description.seconds >= 7_200
    lines = [head + "".join(f"{name:>12}" for name in [*names, "all", "hours" if hours else "seconds"])]
    for title, labels in zip(titles, rows, strict=True):
        clips, seconds = description.cell(labels, names)
        by_partition = [description.cell(labels, [name])[0] for name in names]
        duration = f"{seconds / 3600:,.3f}" if hours else f"{seconds:,.1f}"
        lines.append(title + "".join(f"{number:>12,}" for number in [*by_partition, clips])
                     + f"{duration:>12}")  # fmt: skip
    return lines


def _moments(manifest: Manifest) -> list[tuple[str, float, float]]:
    """Returns name, mean and standard deviation of the values of each partition that has any, and of all."""
    parts = {name: part for name, part in manifest.statistics.items() if part.count}
    if len(parts) > 1:
        parts["all"] = Statistics.merge(parts.values())
    return [(name, mean, variance**0.5) for name, part in parts.items() for mean, variance in [part.scalar()]]


def _spec_name(spec: FeatureSpec) -> str:
    name = preset_name(spec)
    return f"preset {name}" if name else "none of the presets"


def _pairs(content: dict[str, Any]) -> str:
    texts = [
        f"{name} {_pairs(value) if isinstance(value, dict) else value}"
        for name, value in content.items()
        if value is not None
    ]
    return ", ".join(texts) or "defaults"


def _counted(content: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in content.items()) or "none"


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
