"""Labels a folder or table of recordings into a table, whatever runs the work."""

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from features.errors import NothingUsableError, UsageError
from features.frontend.windows import PAD, Windowing, windowing_of
from features.io.filesystem import exists, filesystem_of, is_uri
from features.runtime.log import LOG
from features.sources.clips import Source
from features.sources.paths import absolute_path
from features.sources.policies import DEFAULTS, Policies
from features.sources.table import list_clips
from features.sources.table_layout import TableLayout
from features.store.locks import claim
from features.store.worker_proof import make_proof
from model.inference.artifact import ArtifactDescription, read_description, read_litert
from model.inference.executor import choose_executor, executor_version
from model.labels.allowed_labels import read_allowed_labels
from model.labels.labels import LabelRules, check_top
from model.labels.table_output import check_table_name
from model.scoring.cut_outs import CutOutsJob
from model.scoring.job import JobSettings, open_parts
from model.scoring.job_folder import check_folder, is_used, remove_parts
from model.scoring.join import JoinJob, OutputFiles, join, write_rejects
from model.scoring.known_set import open_known_set
from model.scoring.label_windows import LabelJob, scoring_versions
from model.scoring.low_rates import low_rates
from model.scoring.options import ClipOptions
from model.scoring.planning import ReadUnits, plan_source, read_here
from model.scoring.recordings import ColumnOptions, describe_recordings

AUTO = "auto"


class BatchSize(NamedTuple):
    """How much a batch is.

    Attributes:
        windows: number of windows.
        seconds: of sound.
    """

    windows: int
    seconds: float


RunBatches = Callable[[LabelJob, Mapping[int, BatchSize]], None]
"""Labels batches and writes their parts; takes the job, and the size of each batch by its number."""


@dataclass(frozen=True)
class Request:
    """The request of a scoring.

    Attributes:
        run: the run folder whose model labels.
        input: folder of recordings, one file, or table that names files.
        output: the file of labels, in the form that its name asks for.
        top: labels per window.
        threshold: labels less probable than it are left out; `AUTO` for each class' own, as its training fitted it.
        probabilities: whether a line has the probability of every class.
        only_labels: file of the labels that are allowed; all others are left out. None for all.
        clips: what is cut out of the recordings.
        features: a feature set of the model's spec, whose features of the same clips are taken; None for none.
        table_layout: where a table says which files; nothing else is read from it.
        policies: whether truncated and silent files are used.
        overwrite: whether a file of labels that exists may be replaced.
        executor: name of what runs the network, or `auto`.
        hop_seconds: from the start of a window to that of the next; a window where None.
        tail: what becomes of what remains behind the last whole window, one of `features.frontend.windows.TAILS`.
        min_window_seconds: how long the last of several windows is at least; a twentieth of a window where None.
        columns: that outputs have of each recording.
    """

    run: str
    input: str
    output: str
    top: int = 1
    threshold: float | str = 0.0
    probabilities: bool = False
    only_labels: str | None = None
    clips: ClipOptions = field(default_factory=ClipOptions)
    features: str | None = None
    table_layout: TableLayout = field(default_factory=TableLayout)
    policies: Policies = field(default_factory=lambda: dict(DEFAULTS))
    overwrite: bool = False
    executor: str = "auto"
    hop_seconds: float | None = None
    tail: str = PAD
    min_window_seconds: float | None = None
    columns: ColumnOptions = field(default_factory=ColumnOptions)


def class_thresholds(request: Request, description: ArtifactDescription) -> tuple[float, ...]:
    """Returns the threshold of each class, in their order: above 1 for one that has none, which gets no line.

    Raises:
        UsageError: the threshold is no probability, or the artifact has no thresholds of its own.
    """
    if request.threshold == AUTO:
        own = description.calibration.thresholds
        if own is None:
            raise UsageError(
                f"--threshold {AUTO} takes the thresholds that a training fits on the clips it is validated on, and "
                f"{request.run} has none; train with validation clips, or give a probability, such as --threshold 0.5"
            )
        return tuple(math.inf if threshold is None else threshold for threshold in own.values())
    if isinstance(request.threshold, str) or not 0 <= request.threshold <= 1:
        raise UsageError(f"--threshold is a probability from 0 to 1, or {AUTO}, not {request.threshold}")
    return (request.threshold,) * len(description.classes)


def label_rules(request: Request, description: ArtifactDescription) -> tuple[list[int], LabelRules]:
    """Returns the numbers of the classes that are allowed, and which lines a window has, as if there were no others.

    Raises:
        UsageError: a threshold, or the list of labels, cannot be used.
    """
    thresholds, classes = class_thresholds(request, description), description.classes
    allowed = list(range(len(classes)))
    if request.only_labels is not None:
        allowed = read_allowed_labels(request.only_labels, classes)
    return allowed, LabelRules(
        classes=[classes[number] for number in allowed],
        top=request.top,
        thresholds=[thresholds[number] for number in allowed],
        probabilities=request.probabilities,
    )


def check(request: Request, classes: Sequence[str]) -> None:
    """Raises `UsageError` where a request cannot be carried out; `classes` are those that are allowed."""
    check_top(request.top, classes)
    if os.path.isdir(request.output):
        raise UsageError(f"--output is a file of labels, but {request.output} is a folder")
    check_table_name("--output", request.output)
    if exists(request.output) and not request.overwrite:
        raise UsageError(f"{request.output} exists; give another --output, or --overwrite to replace it")
    if not is_uri(request.output) and not os.path.isdir(os.path.dirname(absolute_path(request.output))):
        raise UsageError(f"no folder for {request.output}; make {os.path.dirname(request.output)} first")
    # A run that was killed may have written its cut-outs, and not yet its labels.
    is_begun = is_used(OutputFiles(absolute_path(request.output)).parts)
    request.clips.check(request.input, request.overwrite or is_begun)


def score(request: Request, run: RunBatches, read: ReadUnits = read_here) -> dict[str, Any]:
    """Labels every window of the input into the file of labels.

    Args:
        request: input, model, output and options of the scoring.
        run: labels the batches that no earlier run has finished; not called where all are finished.
        read: reads the headers that no earlier run has read; not called where the files are few.

    Returns:
        The figures of the run.

    Raises:
        UsageError: the run, the input or the output cannot be used, or another score is writing the output.
        RunError: the run failed; batches that it finished are kept for the next one.
    """
    started = time.monotonic()
    executor = choose_executor(request.executor)
    description = read_description(request.run)
    allowed, rules = label_rules(request, description)
    windowing = windowing_of(description.spec, request.hop_seconds, request.tail, request.min_window_seconds)
    known_set = open_known_set(request.features, request.run, description.spec)
    check(request, rules.classes)
    outputs = OutputFiles(absolute_path(request.output))
    check_folder(outputs.parts)
    with claim(outputs.parts, "score", request.output) as lease:
        check(request, rules.classes)  # another score may have ended in between
        try:
            source = list_clips(request.input, request.table_layout, labelled=False, keep=request.columns.keep)
        except NothingUsableError as error:
            write_rejects(outputs, error.rejects)
            raise UsageError(f"{error}; all are in {outputs.rejects}") from error
        recorders = request.columns.reads_headers(source)
        plan, planning = plan_source(outputs.parts, source, description.spec, windowing, lease, read, recorders)
        recordings = describe_recordings(source, plan.recorders, request.columns)
        settings = JobSettings(
            network=description.network_sha256,
            temperature=description.calibration.temperature,
            executor=executor_version(executor),
            windowing=windowing,
        )
        for line in low_rates(plan, description.spec):
            LOG.warning("warning: %s", line)
        parts = open_parts(outputs.parts, source, plan, settings, planning)
        count = len(plan.ends)
        if todo := parts.unfinished(count):
            if len(todo) < count:
                LOG.info("resuming where an interrupted run stopped: %d of %d batches are there",
                         count - len(todo), count)  # fmt: skip
            filesystem_of(parts.network).write(parts.network, read_litert(request.run, description))
            job = LabelJob(
                parts=parts,
                description=description,
                root=source.root,
                executor=executor,
                windowing=windowing,
                lease=lease,
                proof=make_proof(source.root, source.clips, scoring_versions(executor)),
                known=known_set.index(parts.folder, source.clips["size"]) if known_set else None,
            )
            sizes = map(BatchSize, plan.batch_windows[todo].tolist(), plan.batch_seconds[todo].tolist())
            run(job, dict(zip(todo, sizes, strict=True)))
        wanted = JoinJob(
            outputs=outputs,
            clips=source.clips,
            rejects=source.rejects + plan.rejects,
            allowed=allowed,
            rules=rules,
            policies=request.policies,
            warnings=recordings.warnings,
            columns=recordings.columns,
            cut_outs=_cut_outs_job(request, source, description, windowing),
        )
        outcome = join(parts, plan, wanted)
        remove_parts(outputs.parts)
    seconds = time.monotonic() - started
    return {
        "seconds": seconds,
        "files": outcome.files + len(outcome.rejects),
        "scored": outcome.files,
        "rejected": len(outcome.rejects),
        "rejects": dict(sorted(Counter(reject.reason for reject in outcome.rejects).items())),
        "warnings": dict(sorted(Counter(warning.reason for warning in outcome.warnings).items())),
        "clips": outcome.windows,
        "audio_seconds": plan.total_seconds(without=(reject.path for reject in outcome.rejects)),
        "short_windows": plan.num_shortened(reject.path for reject in outcome.rejects),
        "min_window_seconds": windowing.least_seconds,
        "hop_seconds": request.hop_seconds,
        "tail": request.tail,
        "start_times": recordings.counts(without=(reject.path for reject in outcome.rejects)),
        "no_lines": outcome.empty,
        "left_out": source.left_out,
        "classes_without_threshold": _without_threshold(request, description, rules),
        "known_features": outcome.known,
        "cut_outs": outcome.cut_outs,
        "clips_per_second": outcome.windows / seconds,
    }


def _cut_outs_job(
    request: Request, source: Source, description: ArtifactDescription, windowing: Windowing
) -> CutOutsJob | None:
    if request.clips.folder is None:
        return None
    return CutOutsJob(
        folder=Path(request.clips.folder),
        per_class=request.clips.per_class,
        root=source.root,
        clips=source.clips,
        spec=description.spec,
        windowing=windowing,
    )


def _without_threshold(request: Request, description: ArtifactDescription, rules: LabelRules) -> list[str]:
    """Returns the labels that get no line, as they have no threshold."""
    without = description.calibration.without_threshold if request.threshold == AUTO else []
    return [label for label in without if label in rules.classes]
