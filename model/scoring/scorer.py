"""Labels a folder or table of recordings into a table, whatever runs the work."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from features.errors import NothingUsableError, UsageError
from features.frontend.embedding import read_front_end_network
from features.frontend.windows import Windowing, windowing_of
from features.io.atomic import remove_partial
from features.io.filesystem import filesystem_of, is_uri
from features.runtime.log import LOG
from features.runtime.quantities import counted
from features.sources.clips import Source
from features.sources.table import list_clips
from features.store.locks import claim
from features.store.versions import library_versions
from features.store.worker_proof import make_proof
from model.inference.artifact import networks_folder, read_description
from model.inference.artifact_description import ArtifactDescription
from model.inference.embedding_output import with_embeddings
from model.inference.executor import choose_executor, executor_version
from model.inference.front_end_network import keep_network
from model.inference.precision import network_sha256, read_network
from model.labels.labels import LabelRules
from model.labels.output import LABELS
from model.scoring.cut_outs import CutOutsJob
from model.scoring.further_outputs import FurtherOutputs
from model.scoring.increment import Increment, everything, find_increment
from model.scoring.job import JobSettings, open_parts
from model.scoring.job_folder import check_folder, remove_parts
from model.scoring.join import JoinJob, join, write_rejects, write_tables
from model.scoring.known_set import open_known_set
from model.scoring.label_windows import LabelJob, scoring_versions
from model.scoring.low_rates import low_rates
from model.scoring.outcome import outcome_of
from model.scoring.output_settings import output_settings
from model.scoring.planning import ReadUnits, plan_source, read_here
from model.scoring.recordings import describe_recordings
from model.scoring.request import AUTO, Request, check, further_outputs, label_rules


class BatchSize(NamedTuple):
    """How much a batch is.

    Attributes:
        windows: number of windows.
        seconds: of sound.
        goes_on: whether it is to be labelled behind the batch before it, by the same process.
        network_windows: number of windows that the front end's network takes of them, 0 where it has none.
    """

    windows: int
    seconds: float
    goes_on: bool
    network_windows: int = 0


RunBatches = Callable[[LabelJob, Mapping[int, BatchSize]], None]
"""Labels batches and writes their parts; takes the job, and the size of each batch by its number."""


def _network(request: Request, description: ArtifactDescription) -> bytes:
    """Returns the network as workers load it; raises `UsageError` where it has no embeddings and these are wanted."""
    content = read_network(request.run, description, request.network_precision)
    return content if request.embeddings.dtype is None else with_embeddings(content)


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
    further = further_outputs(request, description, allowed, rules)
    check(request, further)
    network_sha256(request.run, description, request.network_precision)
    # What is not there is refused before hours of planning.
    if request.embeddings.dtype is not None:
        _network(request, description)
    if description.spec.network_name is not None:
        read_front_end_network(description.spec, networks_folder(request.run))
    outputs = further.files
    check_folder(outputs.parts)
    with claim(outputs.parts, "score", request.output) as lease:
        check(request, further)  # another score may have ended in between
        for path in (*outputs.tables, *further.tables.values()):
            if not is_uri(path):
                remove_partial(path)
        try:
            source = list_clips(request.input, request.table_layout, labelled=False, keep=request.columns.keep)
        except NothingUsableError as error:
            write_rejects(outputs, error.rejects)
            raise UsageError(f"{error}; all are in {outputs.rejects}") from error
        settings, increment = find_work(request, source, further, description, windowing)
        new, start_times = increment.source, dict[str, int]()
        if increment.finished:
            LOG.info("nothing is new: %s as %s has them", counted(len(source.clips), "recording"), request.output)
            outcome = increment.outcome(source.rejects)
            write_tables(outputs, outcome)
        else:
            if increment.bases:
                LOG.info("%s of %s stay as %s has them", f"{len(increment.kept):,}",
                         counted(len(source.clips), "recording"), request.output)  # fmt: skip
            recorders = request.columns.reads_headers(new)
            plan, planning = plan_source(outputs.parts, new, description.spec, windowing, lease, read, recorders)
            recordings = describe_recordings(new, plan.recorders, request.columns)
            for line in low_rates(plan, description.spec):
                LOG.warning("warning: %s", line)
            parts = open_parts(outputs.parts, new, plan, settings, planning)
            count = len(plan.ends)
            if todo := parts.unfinished(count):
                if len(todo) < count:
                    LOG.info("resuming where an interrupted run stopped: %d of %d batches are there",
                             count - len(todo), count)  # fmt: skip
                filesystem_of(parts.network).write(parts.network, _network(request, description))
                keep_network(description.spec, networks_folder(request.run), parts.folder)
                job = LabelJob(
                    parts=parts,
                    description=description,
                    root=source.root,
                    executor=executor,
                    windowing=windowing,
                    lease=lease,
                    proof=make_proof(source.root, new.clips, scoring_versions(executor, description.spec)),
                    embeddings=request.embeddings.dtype,
                    known=known_set.index(parts.folder, new.clips["size"]) if known_set else None,
                )
                columns = (plan.batch_windows, plan.batch_seconds, plan.batch_goes_on, plan.batch_network_windows)
                sizes = map(BatchSize, *(column[todo].tolist() for column in columns))
                run(job, dict(zip(todo, sizes, strict=True)))
            wanted = JoinJob(
                outputs=outputs,
                increment=increment,
                rejects=source.rejects,
                allowed=allowed,
                rules=rules,
                policies=request.policies,
                warnings=recordings.warnings,
                root=source.root,
                further=further,
                columns=recordings.columns,
                cut_outs=_cut_outs_job(request, source, description, windowing),
            )
            outcome = join(parts, plan, wanted)
            start_times = recordings.counts(without=(reject.path for reject in outcome.rejects))
        remove_parts(outputs.parts)
    seconds, stays = time.monotonic() - started, outcome_of(increment.kept, [])
    new_windows = outcome.windows - stays.windows
    return {
        "seconds": seconds,
        "files": outcome.files + len(outcome.rejects),
        "scored": outcome.files,
        "new": len(new.clips),
        "kept": len(increment.kept),
        "removed": increment.removed,
        "rejected": len(outcome.rejects),
        "rejects": dict(sorted(Counter(reject.reason for reject in outcome.rejects).items())),
        "warnings": dict(sorted(Counter(warning.reason for warning in outcome.warnings).items())),
        "clips": outcome.windows,
        "new_clips": new_windows,
        "audio_seconds": outcome.audio_seconds,
        "new_audio_seconds": outcome.audio_seconds - stays.audio_seconds,
        "short_windows": outcome.short_windows,
        "min_window_seconds": windowing.least_seconds,
        "hop_seconds": request.hop_seconds,
        "tail": request.tail,
        "start_times": start_times,
        "no_lines": outcome.empty,
        "lines": outcome.lines,
        "lines_left_out": new_windows * request.top - outcome.lines,
        "left_out": source.left_out,
        "classes_without_threshold": _without_threshold(request, description, rules),
        "known_features": outcome.known,
        "events": outcome.events,
        "cut_outs": outcome.cut_outs,
        "clips_per_second": new_windows / seconds,
    }


def find_work(
    request: Request, source: Source, further: FurtherOutputs, description: ArtifactDescription, windowing: Windowing
) -> tuple[JobSettings, Increment]:
    """Returns what parts follow from, and which recordings are labelled: all that does not stay as the output has it.

    Raises:
        UsageError: the output that is there cannot be gone on from.
    """
    settings = JobSettings(
        network=network_sha256(request.run, description, request.network_precision),
        temperature=description.calibration.temperature,
        executor=executor_version(choose_executor(request.executor)),
        windowing=windowing,
        embeddings=request.embeddings.dtype,
        versions=library_versions(description.spec),
    )
    of_outputs = output_settings(
        settings, source, description.spec, request.policies, further.settings(), request.columns.described
    )
    if request.overwrite or request.clips.folder is not None:
        return settings, everything(source, of_outputs)
    files = further.files
    tables = {LABELS: files.labels, **further.tables}
    increment = find_increment(source, of_outputs, tables, files.manifest, files.parts)
    further.check_kept(increment.checksums)
    return settings, increment


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
