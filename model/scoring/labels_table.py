"""Labels of files and of waveforms as Arrow tables, with the columns of the labelled CSV."""

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.errors import Reject, UsageError
from features.frontend.windows import Windowing
from features.runtime.log import LOG
from features.sources.paths import escape_path
from model.inference.executor import Executor
from model.labels.labels import LabelRules, labels_table
from model.scoring.label_files import label_files
from model.scoring.label_waveform import label_waveform, read_waveform

_MOST_NAMED = 3


def path_labels(
    network: Executor, paths: Sequence[str], top: int, windowing: Windowing, rejects: list[Reject] | None
) -> pa.Table:
    """Labels every window of some files.

    Args:
        network: which labels them.
        paths: of the files, as `os.fspath` gives them.
        top: labels a window.
        windowing: where windows begin, and which last one is kept.
        rejects: takes the files that cannot be used, with their paths as in the table; None where one is an error.

    Returns:
        See `labels_table`; the paths are those given, and where one is not UTF-8, as `escape_path` writes it.

    Raises:
        UsageError: a path is not that of a file, or a file cannot be used and there is no list for it.
    """
    shown = {escape_path(os.fsencode(path)): _text(path) for path in paths}
    labelled = label_files(network, [escape_path(os.fsencode(path)) for path in paths], windowing)
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
    rows = replace(labelled.rows, paths=[shown[path] for path in labelled.rows.paths])
    return labels_table(rows, LabelRules(network.classes, top))


def waveform_labels(
    network: Executor, waveform: NDArray[np.floating], sample_rate_hz: int | None, top: int, windowing: Windowing
) -> pa.Table:
    """Labels every window of a waveform; see `read_waveform` and `label_waveform`.

    Returns:
        See `labels_table`; the paths are null.

    Raises:
        UsageError: the waveform or its rate cannot be used.
    """
    rows = label_waveform(network, *read_waveform(waveform, sample_rate_hz), windowing)
    table = labels_table(rows, LabelRules(network.classes, top))
    return table.set_column(0, "path", pa.nulls(len(table), pa.string()))


def _text(path: str) -> str:
    """Returns a path as it is, or escaped where it holds bytes that are not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return escape_path(os.fsencode(path))
    return path
