"""Labels and embeddings of files and of waveforms as Arrow tables, with the columns of what scoring writes."""

import os
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
import pyarrow as pa

from features.errors import Reject, UsageError
from features.frontend.windows import Windowing
from features.runtime.log import LOG
from features.sources.paths import escape_path
from model.inference.executor import Executor
from model.labels.embeddings import EMBEDDING_TYPES, embeddings_schema, embeddings_table
from model.labels.labels import LabelRules, labels_table
from model.labels.window_rows import WindowRows
from model.scoring.label_files import label_files
from model.scoring.label_waveform import label_waveform, read_waveform

_MOST_NAMED = 3


def audio_labels(
    network: Executor,
    audio: Any,
    sample_rate_hz: int | None,
    top: int,
    windowing: Windowing,
    rejects: list[Reject] | None,
) -> pa.Table:
    """Labels every window of files or of a waveform.

    Args:
        network: which labels them.
        audio: a path, paths, or a waveform.
        sample_rate_hz: of a waveform.
        top: labels a window.
        windowing: where windows begin, and which last one is kept.
        rejects: takes the files that cannot be used, with their paths as in the table; None where one is an error.

    Returns:
        See `labels_table`. The paths are those given, and where one is not UTF-8, as `escape_path` writes it; null of a
        waveform.

    Raises:
        UsageError: a path is not that of a file; a file cannot be used and there is no list for it; or the waveform or
            its rate cannot be used.
    """
    rows, is_waveform = _label(network, audio, sample_rate_hz, windowing, rejects, None)
    return _with_paths(labels_table(rows, LabelRules(network.classes, top)), is_waveform)


def audio_embeddings(
    network: Executor,
    audio: Any,
    sample_rate_hz: int | None,
    windowing: Windowing,
    rejects: list[Reject] | None,
) -> pa.Table:
    """Returns the embedding of every window of files or of a waveform; see `audio_labels` and `embeddings_table`.

    Args:
        network: which has an output for them.
        audio: a path, paths, or a waveform.
        sample_rate_hz: of a waveform.
        windowing: where windows begin, and which last one is kept.
        rejects: takes the files that cannot be used, with their paths as in the table; None where one is an error.

    Raises:
        UsageError: as in `audio_labels`.
    """
    kind = EMBEDDING_TYPES[0]
    rows, is_waveform = _label(network, audio, sample_rate_hz, windowing, rejects, kind)
    return _with_paths(embeddings_table(rows, embeddings_schema(kind, network.embedding_size)), is_waveform)


def _label(
    network: Executor,
    audio: Any,
    sample_rate_hz: int | None,
    windowing: Windowing,
    rejects: list[Reject] | None,
    embeddings: str | None,
) -> tuple[WindowRows, bool]:
    """Returns the windows, and whether they are of a waveform."""
    if isinstance(audio, str | PathLike):
        audio = [audio]
    # A column of paths is an array too, but not of numbers.
    elif hasattr(audio, "__array__") and np.asarray(audio).dtype.kind in "biufc":
        samples, rate_hz = read_waveform(np.asarray(audio), sample_rate_hz)
        return label_waveform(network, samples, rate_hz, windowing, embeddings), True
    if sample_rate_hz is not None:
        raise UsageError("sample_rate_hz is that of a waveform; files say theirs")
    return _label_paths(network, [os.fspath(path) for path in audio], windowing, rejects, embeddings), False


def _label_paths(
    network: Executor,
    paths: Sequence[str],
    windowing: Windowing,
    rejects: list[Reject] | None,
    embeddings: str | None,
) -> WindowRows:
    shown = {escape_path(os.fsencode(path)): _text(path) for path in paths}
    labelled = label_files(network, [escape_path(os.fsencode(path)) for path in paths], windowing, embeddings)
    found = [replace(reject, path=shown[reject.path]) for reject in labelled.rejects]
    if rejects is not None:
        rejects += found
    elif found:
        named = [f"{reject.path}: {reject.reason}, {reject.message}" for reject in found[:_MOST_NAMED]]
        more = f"; and {len(found) - _MOST_NAMED:,} more" if len(found) > _MOST_NAMED else ""
        raise UsageError(f"{len(found):,} of {len(shown):,} files cannot be used ({'; '.join(named)}{more}); "
                         "leave them out, or give a list as rejects=, which takes such files")  # fmt: skip
    for warning in labelled.warnings:
        LOG.warning("%s: %s, %s; used all the same", shown[warning.path], warning.reason, warning.message)
    return replace(labelled.rows, paths=[shown[path] for path in labelled.rows.paths])


def _with_paths(table: pa.Table, is_waveform: bool) -> pa.Table:
    return table.set_column(0, "path", pa.nulls(len(table), pa.string())) if is_waveform else table


def _text(path: str) -> str:
    """Returns a path as it is, or escaped where it holds bytes that are not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return escape_path(os.fsencode(path))
    return path
