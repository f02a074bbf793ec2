"""Computes the features of a folder of recordings into shards: python -m pipelines.featurize."""

import features.runtime.interruption
import features.sources.walk_ahead  # noqa: F401 - a process lists the folder while they load

# isort: split
import argparse
import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from features.errors import NothingUsableError, UsageError
from features.io.atomic import writer_name
from features.io.filesystem import place
from features.io.parallel import start
from features.io.temporary import temporary_folder
from features.maintenance.removal import remove_partials
from features.runtime import command
from features.runtime.invocation import command_line
from features.runtime.processes import parse_workers
from features.runtime.progress import Progress
from features.runtime.quantities import counted, rate_text, size_text
from features.sources import partition
from features.sources.corrections import corrections_sentence
from features.sources.rejects import left_out_sentence, rejects_sentence, warnings_sentence
from features.sources.table_rows import TABLE_ENDINGS
from features.store import decoders
from features.store.layout import CLIPS_PATTERN, FORMATS
from features.store.lease import Lease
from features.store.locks import running
from features.store.manifest import Manifest, existing_manifest
from features.store.rejects_table import write_rejects
from features.store.run_log import append_run
from features.store.unit_report import reject_reasons
from features.store.versions import library_versions
from features.store.worker_proof import make_proof
from features.update.build_job import BuildJob
from features.update.dry_run import describe
from features.update.front_end_network import network_sentence
from features.update.request import Request
from features.update.update import CacheRules, Update, check_space
from pipelines.beam.follow import Units, follow
from pipelines.beam.options import beam_option_names, check_beam_options
from pipelines.building import build, expect, pays
from pipelines.local.units import local_units
from pipelines.options import (
    ALL_FIELDS,
    add_clip_options,
    add_format_options,
    add_front_end,
    add_policies,
    add_table_options,
    add_work_options,
    chosen_format,
    chosen_front_end,
    chosen_policies,
    table_layout,
)

EXAMPLE = "python -m pipelines.featurize --input speech/ --output speech-features/"
# What copying takes less than computing; beside a network, of which windows count, it takes nothing.
_COPIES_OF_A_CLIP = {"stft": 3, "log_mel": 3, "mfcc": 3, "embedding": 1_000}
RunUnits = Callable[[BuildJob, Sequence[int], bool], None]
"""Builds the shards of these numbers; the last says whether several processes are sooner done than one."""


def featurize(
    request: Request, run: RunUnits, elsewhere: bool = False, expect: Callable[[int], None] = lambda clips: None
) -> tuple[Manifest, dict[str, Any]]:
    """Brings a feature set up to date with its source.

    Args:
        request: input, output and options of the run.
        run: builds the shards; not called where nothing is to be done.
        elsewhere: whether a runner has the workers that do.
        expect: told of a new set, before it is planned, how many clips it will have.

    Returns:
        The committed state and the figures of the run.

    Raises:
        UsageError: the input cannot be used, or the output holds something else.
        RunError: the run failed; shards that it finished are kept for the next one.
    """
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        lease = None
        if request.layout.is_begun():  # not a folder of something else
            lease = stack.enter_context(running(request.layout))
        try:
            update = request.read(expect)
        except NothingUsableError as error:
            table = write_rejects(request.layout, existing_manifest(request.output), error.rejects)
            raise UsageError(f"{error}; all are in {table}") from error
        update.layout.make_folders()
        lease = lease or stack.enter_context(running(update.layout))
        check_space(update)
        if update.network is not None:
            update.network.put(is_used=update.computed > 0)
        if update.todo:
            _compute(update, lease, run, elsewhere)
        figures: dict[str, Any] = update.figures
        manifest, committed = update.commit()
        request.warn_of_contents(update, manifest, committed)
        figures["written_bytes"] = update.written_bytes(manifest)
        figures["superseded_bytes"] = update.superseded_bytes(manifest)
        figures |= {"decoded": figures["computed"], "computed": update.computed_rows()}  # others: rejects
    if update.todo or committed:
        remove_partials(update.layout)  # workers and commits that were killed may have left some
    figures["kept"] = manifest.counts["clips"] - figures["computed"] - figures["copied"]
    seconds = time.monotonic() - started
    clips = len(update.changes.clips)
    figures |= {
        "seconds": seconds,
        "clips": manifest.counts["clips"],
        "rejected": manifest.counts["rejected"],
        "warnings": manifest.counts["warnings"],
        "decoders": manifest.decoders,
        "outdated": update.changes.outdated,
        "left_out": update.source.left_out,
        "clips_per_second": figures["computed"] / seconds,
        "hit_rate": 1 - figures["decoded"] / clips,
        "network": manifest.network,
        "corrections": manifest.corrections,
        "state": manifest.state,
        "committed": committed,
    }
    append_run(update.layout, {**figures, "scan_started_ns": update.scan_started_ns})
    return manifest, figures


def _compute(update: Update, lease: Lease, run: RunUnits, elsewhere: bool) -> None:
    weights = {name: len(update.plan.units[name]) for name in update.todo}
    clips = sum(weights.values())
    work = update.computed + (clips - update.computed) // _COPIES_OF_A_CLIP[update.spec.front_end]
    work_list = update.layout.work_list(writer_name())  # its folder is there: the lease lies in it
    root = update.source.root
    # To find the versions loads libraries, and Arrow writes most of the list meanwhile.
    proof = start(lambda: make_proof(root, update.changes.clips, library_versions(update.spec)))
    update.write_work_list(work_list)
    pa.default_memory_pool().release_unused()  # what the plan took on its way
    # Workers of other hosts have nothing but the store, where to say how far they are would be a request a second.
    progress = work_list if isinstance(work_list, Path) else None if elsewhere else Path(temporary_folder(), "units")
    job = BuildJob(
        work_list=str(work_list),
        layout=update.layout,
        root=root,
        spec=update.spec,
        policies=update.provenance.policies,
        changed_decoder=update.rules.changed_decoder,
        lease=lease,
        proof=proof.result(),
        progress=progress,
    )
    try:
        reasons = functools.partial(reject_reasons, update.layout)
        units = Units(update.layout.reports_folder, ".parquet", weights, reasons, progress, elsewhere)
        with follow(Progress("featurize", clips, "clips"), units), update.reading_reports():
            run(job, range(len(update.todo)), pays(update.spec, work))
    finally:
        update.layout.files.delete(work_list)


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser(
        "Computes the features of a folder or table of recordings into shards.", EXAMPLE, further=beam_option_names
    )
    result.add_argument(
        "--input", required=True, metavar="DIR|TABLE|FILE",
        help=f"folder with one folder per class, or a table ({' '.join(TABLE_ENDINGS)}); others by --input-format",
    )  # fmt: skip
    result.add_argument(
        "--output", required=True, metavar="FEATURES", help="folder of the feature set, or s3://BUCKET/NAME"
    )
    add_front_end(result)
    result.add_argument("--format", choices=FORMATS, default="tfrecord", help="of the shards (%(default)s)")
    result.add_argument("--dry-run", action="store_true", help="say what would be done, and write nothing")
    add_clip_options(result)
    add_format_options(result)
    add_table_options(result, "where a table says what", ALL_FIELDS)
    result.add_argument(
        "--allow-removal", action="store_true",
        help="take out of the set what the source has no more, be it most of it, and take another source for it",
    )  # fmt: skip
    result.add_argument(
        "--source-moved", action="store_true",
        help="the same recordings lie elsewhere now, as after a disk was mounted in another place",
    )  # fmt: skip
    result.add_argument(
        "--verify-content", action="store_true",
        help="compare the contents of all files with what was computed from them, not their sizes and times only",
    )  # fmt: skip
    result.add_argument(
        "--changed-decoder", choices=decoders.CHOICES,
        help="whether rows are computed anew that another decoder read than the one here, or one that is not known "
        "(those of another version of ffmpeg only)",
    )  # fmt: skip
    add_policies(result)
    add_work_options(result)
    return result


def main(options: argparse.Namespace, beam_options: list[str]) -> int:
    """Featurizes and prints what came of it."""
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"--limit is above 0, not {options.limit}")
    choice = chosen_front_end(options)
    request = Request(
        input=options.input,
        output=options.output,
        spec=choice.spec,
        storage_format=options.format,
        group=options.group,
        split=partition.parse_split(options.split) if options.split else None,
        limit=options.limit,
        table_layout=table_layout(options),
        label_pattern=options.label_pattern,
        allow_removal=options.allow_removal,
        source_moved=options.source_moved,
        rules=CacheRules(options.verify_content, options.changed_decoder),
        policies=chosen_policies(options),
        network=choice.network,
        corrections=options.corrections,
        input_format=chosen_format(options, choice.spec),
    )
    workers = parse_workers(options.workers)
    check_beam_options(beam_options)
    if options.dry_run:
        lines, figures = describe(request, workers)
        command.finish(options, lines, figures)
        return command.exit_code(figures["rejected"], options.max_rejects)
    with local_units(workers, beam_options) as local:
        run = functools.partial(build, local=local, beam_options=beam_options)
        manifest, figures = featurize(request, run, local is None, functools.partial(expect, local, choice.spec))
    clips = ", ".join(f"{manifest.rows([name]):,} {name}" for name in manifest.partitions)
    paragraph = (
        f"{counted(figures['clips'], 'clip')} in {counted(len(manifest.classes), 'class', 'classes')} ({clips}); "
        f"{figures['computed']:,} computed, {figures['kept']:,} kept, {figures['copied']:,} copied and "
        f"{figures['removed']:,} removed in {figures['seconds']:.1f} s"
    )
    paragraph += f" ({rate_text(figures['clips_per_second'])} computed a second)." if figures["computed"] else "."
    paragraph += corrections_sentence(manifest.corrections)
    paragraph += network_sentence(manifest.network)
    if figures["outdated"]:
        paragraph += f" {figures['outdated']:,} were computed anew as another decoder had read them."
    paragraph += decoders.kept_sentence(figures["decoders"], options.changed_decoder)
    if superseded := figures["superseded_bytes"]:
        size, prune = size_text(superseded), command_line("features.prune", options.output)
        paragraph += f" {size} of shards are of earlier states only now: {prune}."
    paragraph += warnings_sentence(figures["warnings"], place(options.output) / (manifest.clips_file or CLIPS_PATTERN))
    paragraph += rejects_sentence(manifest.counts["rejects"], place(options.output) / manifest.rejects_file)
    paragraph += left_out_sentence(figures["left_out"])
    folds = partition.train_options(list(manifest.partitions))
    following = command_line("model.train", "--features", options.output, "--output", "RUN")
    paragraph += f" Next: {following}{folds}"
    command.finish(options, paragraph, figures)
    return command.exit_code(figures["rejected"], options.max_rejects)


if __name__ == "__main__":
    command.run(main, parser())
