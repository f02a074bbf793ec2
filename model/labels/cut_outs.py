"""A folder of cut-outs: windows that were chosen for each label, in folders of the labels, with a table of them.

Only what is as it was written is ever replaced: files that somebody has moved between the folders are his work.
"""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from features.errors import UsageError
from features.io.csv_text import csv_label, csv_lines
from features.io.filesystem import is_uri
from features.sources.paths import csv_path
from features.sources.safe_names import safe_names
from model.labels.window_choice import ChosenWindow

TABLE = "clips.csv"
_COLUMNS = ("path", "label", "group", "start_seconds", "end_seconds", "probability", "drawn")


def cut_out_paths(chosen: Sequence[ChosenWindow], classes: Sequence[str]) -> list[str]:
    """Returns the path of each cut-out below its folder: `LABEL/PROBABILITY RECORDING at START s.wav`.

    Label and recording are written by `features.sources.safe_names`, of a long path its end; no two are one file on any
    system.

    Args:
        chosen: the windows, each once a label.
        classes: all labels of the model, so that a folder's name does not depend on what was chosen.
    """
    folders = safe_names(classes)
    recordings = safe_names((window.path for window in chosen), keep_end=True)
    return [f"{folders[window.label]}/{window.probability:.3f} {recordings[window.path]} at "
            f"{_seconds_text(window.start_seconds)} s.wav" for window in chosen]  # fmt: skip


def cut_out_table(chosen: Sequence[ChosenWindow], paths: Sequence[str]) -> str:
    """Returns the table of some cut-outs with these paths: a CSV that featurize reads, with the recording as group."""
    rows = ((csv_path(path), csv_label(window.label), csv_path(window.path), f"{window.start_seconds:.6f}",
             f"{window.end_seconds:.6f}", f"{window.probability:.6f}", window.drawn)
            for window, path in zip(chosen, paths, strict=True))  # fmt: skip
    return csv_lines([_COLUMNS, *rows])


def check_cut_outs_folder(folder: str, overwrite: bool) -> None:
    """Raises `UsageError` where cut-outs cannot be written to a folder without a loss of what is in it.

    Args:
        folder: its path.
        overwrite: whether cut-outs of an earlier run may be replaced, if they are as they were written.
    """
    if is_uri(folder):
        raise UsageError(f"--clips is a folder of this machine, and {folder} is in a store; copy it there afterwards")
    if not os.path.lexists(folder):
        above = os.path.dirname(os.path.abspath(folder))
        if not os.path.isdir(above):
            raise UsageError(f"no folder for --clips {folder}; make {above} first")
        return
    if not os.path.isdir(folder):
        raise UsageError(f"--clips is a folder, and {folder} is a file; give another")
    there = _files(Path(folder))
    if not there:
        return
    if TABLE not in there:
        raise UsageError(f"--clips {folder} holds {min(there)}, which is no cut-out; give a new or an empty folder")
    if not overwrite:
        raise UsageError(f"--clips {folder} exists; give another folder, or --overwrite to replace it")
    written = _paths_in(Path(folder) / TABLE) | {TABLE}
    if written != there:
        what = f"{min(there - written)} was not" if there - written else f"{min(written - there)} is not there any more"
        raise UsageError(f"--clips {folder} is not as score has written it ({what}), and may be somebody's work; move "
                         "it away, or give another folder")  # fmt: skip


def _files(folder: Path) -> set[str]:
    return {os.path.relpath(os.path.join(place, name), folder) for place, _, names in os.walk(folder) for name in names}


def _paths_in(table: Path) -> set[str]:
    try:
        rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"), newline="")))
        return {row["path"].removeprefix("./") for row in rows}
    except (OSError, UnicodeError, csv.Error, KeyError) as error:
        raise UsageError(f"{table} is not the table of cut-outs that score writes ({error}); move it away, or give "
                         "another folder") from error  # fmt: skip


def _seconds_text(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".")
