"""What is searched for: a clip of the set, or a recording outside of it, of which the set's front end is taken."""

import os
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.audio.recording import open_recording, probe_at
from features.errors import NOT_FINITE_FEATURES, ClipError, Reason, UsageError
from features.frontend.clip import clip_waveform
from features.frontend.spectrogram import compute_features
from features.io.csv_text import FORMULA_STARTS
from features.io.filesystem import is_uri
from features.runtime.log import LOG
from features.sources.paths import absolute_path, below, clip_file, escape_path
from features.sources.table_rows import is_text
from features.store.clip_features import read_clip
from features.store.layout import Layout
from features.store.manifest import Manifest

_MOST_NAMED = 3


@dataclass(frozen=True)
class Query:
    """A clip, and what others are compared with.

    Attributes:
        path: of its file, as the clips table has it, or as it was given where the set has no such clip.
        row: of the clips table, None where the set has no such clip.
        start: its first frame within the file.
        features: shape spec.shape.
        waveform: of a recording outside of the set, as the front end takes it; None of a clip of the set.
    """

    path: str
    row: int | None
    start: int
    features: NDArray[np.floating]
    waveform: NDArray[np.float32] | None = None


def find_query(layout: Layout, manifest: Manifest, clips: pa.Table, like: str, start_seconds: float | None) -> Query:
    """Finds what is searched for.

    Args:
        layout: of the set.
        manifest: its state.
        clips: its clips table, with path, start, shard, row, offset and crc32c.
        like: the path of a clip, as the clips table or a table of ours has it, or as the system opens its file; else
            a recording that the set does not have, a file or an object.
        start_seconds: where in its file the clip begins; None for the only clip of its file, or for the beginning.

    Raises:
        UsageError: there is neither such a clip nor such a recording; the file has several clips, or none that begins
            there; the recording cannot be used, or the network of the front end; or all values of its features are 0.
        RunError: the shard that holds the clip is missing or damaged.
    """
    if start_seconds is not None and not start_seconds >= 0:
        raise UsageError(f"--start is a time in seconds from the beginning of the recording, not {start_seconds:g}")
    rows = np.empty(0, np.int64)
    for path in _possible_paths(like, manifest.source["root"]):
        rows = np.flatnonzero(pc.equal(clips["path"], path).to_numpy())
        if len(rows):
            break
    if len(rows):
        row = _chosen(rows, layout, manifest, clips, start_seconds)
        start = clips["start"][row].as_py()
        query = Query(path, row, start, read_clip(layout, manifest, clips.slice(row, 1), path, start))
    else:
        query = _outside(like, layout, manifest, clips, start_seconds or 0.0)
    if not query.features.any():
        raise UsageError(f"all values of the features of {like} are 0, which are alike to nothing; give another clip")
    return query


def rate_hz_of(root: str, path: str) -> int | None:
    """Returns the sample rate of a clip's file, None where that cannot be read any more."""
    try:
        return probe_at(clip_file(root, path)).rate_hz
    except ClipError:
        return None


def _possible_paths(like: str, root: str) -> list[str]:
    """Returns what the clips table may call a clip: the text itself, that of a CSV, and its file's below the root."""
    texts = [like, escape_path(os.fsencode(like))]
    if like.startswith("./") and like[2:].startswith(FORMULA_STARTS):
        texts += [text[2:] for text in texts]
    texts.append(escape_path(below(os.fsencode(root), os.fsencode(absolute_path(like)))))
    return [text for text in dict.fromkeys(texts) if is_text(text)]


def _chosen(rows: NDArray[np.int64], layout: Layout, manifest: Manifest, clips: pa.Table, start: float | None) -> int:
    """Returns which of the clips of a file is meant by a time in seconds."""
    if start is None and len(rows) == 1:
        return int(rows[0])
    path = clips["path"][rows[0]].as_py()
    starts = sorted(zip(clips["start"].take(rows).to_pylist(), rows.tolist(), strict=True))
    rate_hz = rate_hz_of(manifest.source["root"], path)
    if start is not None and (start == 0 or rate_hz):
        wanted = round(start * (rate_hz or 0))
        for frame, row in starts:
            if frame == wanted:
                return int(row)
    shown = [f"{frame / rate_hz:.6g} s" if rate_hz else f"frame {frame}" for frame, _ in starts[:_MOST_NAMED]]
    begin = f"begin at {', '.join(shown)}{', ...' if len(starts) > _MOST_NAMED else ''}"
    if start is None:
        raise UsageError(
            f"{path} has {len(starts):,} clips in {layout.root}, which {begin}; --start SECONDS says which"
        )
    if start and not rate_hz:
        raise UsageError(f"{path} cannot be opened any more, so that --start {start:g} is no frame of it; its clips in "
                         f"{layout.root} {begin}")  # fmt: skip
    raise UsageError(f"{path} has no clip in {layout.root} that begins at {start:g} s; those of this file {begin}")


def _outside(like: str, layout: Layout, manifest: Manifest, clips: pa.Table, start_seconds: float) -> Query:
    """Computes the features of a recording that the set does not have, or has under another path."""
    if not is_uri(like) and not os.path.exists(like):
        raise UsageError(f"{like} is neither a clip of {layout.root} nor a file{_alike(like, clips)}")
    spec = manifest.spec
    try:
        with open_recording(like, whole=False) as recording:
            start = round(start_seconds * recording.probe().rate_hz) if start_seconds else 0
            waveform, _, warning = clip_waveform(recording.source, spec, start)
        features = compute_features([waveform], spec, layout.networks_folder)[0]
        if not np.isfinite(features).all():
            raise ClipError("features", Reason.NOT_FINITE, NOT_FINITE_FEATURES)
    except ClipError as error:
        raise UsageError(f"--like takes a recording that can be used, but {like} is rejected: {error.reason}, "
                         f"{error.message}; give another") from error  # fmt: skip
    if warning:
        LOG.warning("warning: %s is %s; used all the same", like, warning.replace(";", ", "))
    return Query(escape_path(os.fsencode(like)), None, start, features, waveform)


def _alike(like: str, clips: pa.Table) -> str:
    """Names clips whose file has the name of one that is not there."""
    name = escape_path(os.fsencode(os.path.basename(like)))
    found = clips["path"].filter(pc.ends_with(clips["path"], f"/{name}")).unique().to_pylist()
    return f"; there is {', '.join(found[:_MOST_NAMED])}" if name and found else ""
