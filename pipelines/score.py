"""Labels a folder of recordings into a CSV: python -m pipelines.score."""

import argparse
import os
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from features.errors import UsageError
from features.io.atomic import write_file
from features.runtime import command
from features.runtime.log import LOG
from features.runtime.processes import choose_workers, parse_workers
from features.runtime.progress import Progress
from features.sources.policies import DEFAULTS, Policies
from features.sources.rejects import rejects_sentence, warnings_sentence
from features.sources.table import list_clips
from features.sources.table_layout import TableLayout
from features.sources.table_rows import TABLE_ENDINGS
from features.store.locks import claim
from model.inference.artifact import read_description, read_litert
from model.inference.executor import EXECUTORS, choose_executor, executor_version
from model.scoring.job import Parts, check_folder, open_parts, plan_batches, remove_parts
from model.scoring.labels_csv import Labels, WindowUnit
from pipelines.beam.follow import follow
from pipelines.beam.options import check_beam_options
from pipelines.beam.workers import local_workers
from pipelines.options import (
    FILE_FIELDS,
    add_policies,
    add_table_options,
    add_work_options,
    beam_parser,
    chosen_policies,
    table_layout,
)

EXAMPLE = "python -m pipelines.score --model RUN --input recordings/ --output labels.csv"
# From so many windows on, two processes are sooner done than one, their start included.
_WINDOWS_THAT_PAY = 8_000


@dataclass(frozen=True)
class Request:
    """What a scoring is asked for.

    Attributes:
        run: the run folder whose model labels.
        input: folder of recordings, one file, or table that names files.
        output: the CSV.
        top: labels a window.
        threshold: probabilities below it are left out.
        layout: where a table says which files; nothing else is read from it.
        policies: whether truncated and silent files are used.
        overwrite: whether a CSV that is there may be replaced.
        executor: name of what runs the network, or `auto`.
        workers: worker processes of a local run, None to choose.
        beam_options: passed on to Beam.
    """

    run: str
    input: str
    output: str
    top: int = 1
    threshold: float = 0.0
    layout: TableLayout = field(default_factory=TableLayout)
    policies: Policies = field(default_factory=lambda: dict(DEFAULTS))
    overwrite: bool = False
    executor: str = "auto"
    workers: int | None = None
    beam_options: tuple[str, ...] = ()

    @property
    def rejects_output(self) -> str:
        """The table of files that could not be used: `labels.rejects.csv` beside `labels.csv`."""
        return f"{self.output.removesuffix('.csv')}.rejects.csv"

    @property
    def warnings_output(self) -> str:
        """The table of files that were labelled with a warning, as truncated or silent: `labels.warnings.csv`."""
        return f"{self.output.removesuffix('.csv')}.warnings.csv"


def check(request: Request, classes: list[str]) -> None:
    """Raises `UsageError` for what cannot be done."""
    if not 1 <= request.top <= len(classes):
        raise UsageError(f"--top is 1 to {len(classes)}, the number of classes, not {request.top}")
    if not 0 <= request.threshold <= 1:
        raise UsageError(f"--threshold is a probability from 0 to 1, not {request.threshold}")
    if os.path.isdir(request.output):
        raise UsageError(f"--output is a CSV file, but {request.output} is a folder")
    if os.path.exists(request.output) and not request.overwrite:
        raise UsageError(f"{request.output} exists; give another --output, or --overwrite to replace it")
    if not os.path.isdir(os.path.dirname(os.path.abspath(request.output))):
        raise UsageError(f"no folder for {request.output}; make {os.path.dirname(request.output)} first")


def score(request: Request) -> dict[str, Any]:
    """Labels every window of the input into the CSV.

    Returns:
        The figures of the run.

    Raises:
        UsageError: the run, the input or the output cannot be used, or another score is writing the output.
        RunError: the run failed; batches that it finished are kept for the next one.
    """
    started = time.monotonic()
    request = replace(request, executor=choose_executor(request.executor))
    check_beam_options(request.beam_options)
    description = read_description(request.run)
    check(request, description.classes)
    output = os.path.abspath(request.output)
    folder = Path(f"{output}.parts")
    check_folder(folder)
    with claim(folder, "score", request.output):
        check(request, description.classes)  # another score may have ended in between
        source = list_clips(request.input, request.layout, labelled=False)
        batches, unreadable = plan_batches(source, description.spec)
        settings = {"network": description.network_sha256, "top": request.top, "threshold": request.threshold,
                    "root": source.root, "executor": executor_version(request.executor)}  # fmt: skip
        parts = open_parts(folder, source, batches, settings)
        if todo := parts.unfinished(len(batches)):
            write_file(parts.network, read_litert(request.run, description))
            _label(request, parts, source.root, batches, todo)
        rejects = source.rejects + unreadable
        if rejects:  # what could not even be listed counts as a batch too: no file gets lost
            batches = [*batches, [WindowUnit(reject.path, 0, 1) for reject in rejects]]
            parts.write(len(batches) - 1, Labels([], rejects, [], 0, [0] * len(rejects)), request.top)
        outcome = parts.join(
            batches,
            source,
            output,
            rejects_output=os.path.abspath(request.rejects_output),
            warnings_output=os.path.abspath(request.warnings_output),
            top=request.top,
            policies=request.policies,
        )
        remove_parts(folder)
    seconds = time.monotonic() - started
    return {
        "seconds": seconds,
        "files": outcome.files + len(outcome.rejects),
        "scored": outcome.files,
        "rejected": len(outcome.rejects),
        "rejects": dict(sorted(Counter(reject.reason for reject in outcome.rejects).items())),
        "warnings": dict(sorted(Counter(warning.reason for warning in outcome.warnings).items())),
        "clips": outcome.windows,
        "left_out": source.left_out,
        "clips_per_second": outcome.windows / seconds,
    }


def _label(request: Request, parts: Parts, root: str, batches: list[Any], todo: list[int]) -> None:
    windows = [sum(unit.num_windows for unit in batches[number]) for number in todo]
    workers = choose_workers(request.workers, len(todo), pays=sum(windows) >= _WINDOWS_THAT_PAY)
    if len(todo) < len(batches):
        LOG.info("going on where an interrupted run stopped: %d of %d batches are there", len(batches) - len(todo),
                 len(batches))  # fmt: skip
    weights = {parts.note(number).name: count for number, count in zip(todo, windows, strict=True)}
    with local_workers(workers, request.beam_options, "score") as forked:
        # Beam and its inference take a second to load: what can be refused was refused before.
        from pipelines.beam.label_windows import LabelJob, LabelWindows
        from pipelines.beam.runners import run_units

        job = LabelJob(
            parts=str(parts.folder),
            run=os.path.abspath(request.run),
            root=root,
            top=request.top,
            threshold=request.threshold,
            executor=request.executor,
        )
        with follow(Progress("score", sum(windows), "windows"), parts.folder, weights):
            run_units(LabelWindows(job), todo, request.beam_options, forked)


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = beam_parser("Labels a folder or table of recordings, or one file, into a CSV.", EXAMPLE)
    result.add_argument("--model", required=True, metavar="RUN", help="run folder made by model.train")
    result.add_argument(
        "--input", required=True, metavar="DIR|FILE|TABLE",
        help=f"recordings, or a table that names them ({' '.join(TABLE_ENDINGS)}); labels are not asked for",
    )  # fmt: skip
    result.add_argument(
        "--output",
        required=True,
        metavar="LABELS.csv",
        help="a line a window; rejects and warnings go beside it",
    )
    result.add_argument("--top", type=int, default=1, metavar="K", help="labels a window (%(default)s)")
    result.add_argument(
        "--threshold", type=float, default=0.0, metavar="P", help="leave out labels less probable than this (0)"
    )
    add_policies(result)
    result.add_argument("--overwrite", action="store_true", help="replace LABELS.csv where it exists")
    result.add_argument(
        "--executor", choices=("auto", *EXECUTORS), default="auto",
        help="what runs the network (openvino where it is installed, else litert)",
    )  # fmt: skip
    add_work_options(result)
    add_table_options(result, "where a table says which files", FILE_FIELDS)
    return result


def main(options: argparse.Namespace, beam_options: list[str]) -> int:
    """Scores and prints what came of it."""
    request = Request(
        run=options.model,
        input=options.input,
        output=options.output,
        top=options.top,
        threshold=options.threshold,
        layout=table_layout(options),
        policies=chosen_policies(options),
        overwrite=options.overwrite,
        executor=options.executor,
        workers=parse_workers(options.workers),
        beam_options=tuple(beam_options),
    )
    figures = score(request)
    paragraph = (
        f"{figures['files']:,} files in = {figures['scored']:,} scored + {figures['rejected']:,} rejected; "
        f"{figures['clips']:,} windows in {figures['seconds']:.1f} s ({figures['clips_per_second']:,.0f} a second)."
    )
    paragraph += warnings_sentence(figures["warnings"], Path(request.warnings_output))
    paragraph += rejects_sentence(figures["rejects"], Path(request.rejects_output))
    paragraph += f" The labels are in {request.output}."
    command.finish(options, paragraph, figures)
    return command.exit_code(figures["rejected"], options.max_rejects)


if __name__ == "__main__":
    command.run(main, parser(), beam=True)
