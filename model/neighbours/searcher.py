"""Finds the clips of a set that are most like one, as rows of a table, and draws them."""

import difflib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import UsageError
from features.runtime.quantities import counted
from features.store.clips_table import read_clips
from features.store.layout import Layout
from features.store.manifest import Manifest, load_manifest
from model.labels.table_output import TableOutput
from model.neighbours.found_table import SCHEMA, table_of
from model.neighbours.query import Query, find_query
from model.neighbours.similarity import most_alike, similarities

MOST_DRAWN = 27
"""Clips that a picture shows at most, beside the one that they are like."""
_MOST_NAMED = 5
_COLUMNS = ("path", "start", "duration", "size", "mtime_ns", "version", "label", "partition", "seconds", "shard", "row",
            "offset", "crc32c")  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What to search for, and where.

    Attributes:
        features: the set.
        like: a clip of it, or a recording outside of it; see `find_query`.
        start_seconds: where in its file that clip begins, None for the only one of its file.
        top: how many clips.
        partitions: which alone are searched, None for all.
        labels: of the clips that alone are searched, none for all.
        output: the table, or None.
        picture: the picture, or None.
    """

    features: str
    like: str
    start_seconds: float | None = None
    top: int = 20
    partitions: tuple[str, ...] | None = None
    labels: tuple[str, ...] = ()
    output: str | None = None
    picture: str | None = None


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        query: what was searched for.
        table: rows of `SCHEMA`, the most alike first.
        compared: how many clips were compared.
        drawn: how many of them a picture shows.
        seconds: how long that took, without the table and the picture.
    """

    query: Query
    table: pa.Table
    compared: int
    drawn: int
    seconds: float


def search(request: Request) -> Found:
    """Searches a set, and writes the table and the picture that are requested.

    Raises:
        UsageError: there is no such set, clip, recording, partition or label, or nothing to compare with.
        RunError: the clips table or a shard cannot be read.
    """
    started = time.monotonic()
    if request.top < 1:
        raise UsageError(f"--top is 1 or more, not {request.top}")
    manifest = load_manifest(request.features)
    layout = manifest.layout(request.features)
    clips = read_clips(layout, manifest, _COLUMNS)
    wanted = _wanted(request, manifest, clips)
    query = find_query(layout, manifest, clips, request.like, request.start_seconds)
    if query.row is not None:
        wanted[query.row] = False
    similarity = similarities(layout, manifest, clips, wanted, query.features)
    rows = most_alike(similarity, clips, request.top)
    seconds = time.monotonic() - started
    hits = clips.take(pa.array(rows, pa.int64()))
    drawn = min(len(rows), MOST_DRAWN) if request.picture is not None else 0
    table = table_of(hits, similarity[rows], manifest.source["root"])
    found = Found(query, table, int(wanted.sum()), drawn, seconds)
    if request.output is not None:
        with TableOutput(request.output, SCHEMA) as output:
            output.append(table)
            output.complete()
            output.finish()
    if request.picture is not None:
        _draw(found, request.picture, clips, hits, layout, manifest)
    return found


def _wanted(request: Request, manifest: Manifest, clips: pa.Table) -> NDArray[np.bool_]:
    """Returns of each clip whether it is of the partitions and labels that are searched."""
    wanted = np.ones(len(clips), bool)
    if request.partitions is not None:
        manifest.shards(request.partitions)  # which refuses one that there is not
        wanted &= _is_in(clips["partition"], request.partitions)
    for label in request.labels:
        if label not in manifest.classes:
            near = difflib.get_close_matches(label, manifest.classes, n=1)
            hint = f"nearest: {near[0]}" if near else f"there are {_some(manifest.classes)}"
            raise UsageError(f"no label {label!r} in {request.features} ({hint})")
    if request.labels:
        wanted &= _is_in(clips["label"], request.labels)
    if len(clips) and not wanted.any():
        raise UsageError(f"no clip of {request.features} is in {_among(request)}")
    return wanted


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:_MOST_NAMED], *(["..."] if len(names) > _MOST_NAMED else [])])


def _is_in(column: pa.ChunkedArray, names: Sequence[str]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = pc.is_in(column, value_set=pa.array(names, pa.string())).to_numpy()
    return found


def _among(request: Request) -> str:
    """Names the partitions and labels that are searched."""
    parts = [", ".join(names) for names in (request.partitions or (), request.labels) if names]
    return " and labelled ".join(parts)


def _draw(found: Found, picture: str, clips: pa.Table, hits: pa.Table, layout: Layout, manifest: Manifest) -> None:
    from features.pictures.drawing import save
    from features.pictures.examples import source_waveform
    from features.store.clip_features import read_clip
    from model.pictures.neighbours_picture import Panel, neighbours_figure

    def panel(row: dict[str, Any], facts: str) -> Panel:
        waveform = source_waveform(row, manifest)
        features = None if waveform is not None else read_clip(layout, manifest, clips, row["path"], row["start"])
        return Panel(row["path"], row["label"], facts, waveform, features)

    query = found.query
    if query.row is None:
        first = Panel(query.path, None, "not in the set", query.waveform, query.features)
    else:
        first = panel(clips.slice(query.row, 1).to_pylist()[0], "searched for")
    shown = []
    for row, listed in zip(hits.to_pylist(), found.table.to_pylist(), strict=True):
        begin = f", from {listed['start_seconds']:.6g} s" if listed["start_seconds"] else ""
        shown.append(panel(row, f"{listed['similarity']:.4f}, {row['partition']}{begin}"))
        if len(shown) == MOST_DRAWN:
            break
    more = f"the first {len(shown)} of " if len(shown) < len(hits) else ""
    title = f"{layout.root}: {more}the {counted(len(hits), 'clip')} most like {query.path}"
    save(neighbours_figure(first, shown, manifest.spec, title), picture)


def figures_of(found: Found) -> dict[str, Any]:
    """Returns the figures of a search ready for JSON."""
    return {
        "like": found.query.path,
        "in_set": found.query.row is not None,
        "start": found.query.start,
        "clips": found.compared,
        "found": len(found.table),
        "drawn": found.drawn,
        "seconds": found.seconds,
        "clips_per_second": found.compared / found.seconds if found.seconds else 0.0,
        "hits": found.table.to_pylist(),
    }
