"""Computes the features of a folder of recordings into shards: python -m pipelines.featurize."""

import argparse
import contextlib
import os
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa

from features import console, partition
from features.build import is_finished, read_report
from features.commit import append_run, commit
from features.console import LOG, Progress
from features.errors import UsageError
from features.manifest import Manifest, check_text, existing_manifest
from features.plan import Plan, limit, make_plan, seconds_of, write_work_list
from features.presets import PRESETS, load_spec, preset
from features.rows import TABLE_ENDINGS
from features.shards import FORMATS
from features.sources import Source
from features.spec import FeatureSpec
from features.table import TableLayout, list_clips
from pipelines.progress import follow
from pipelines.workers import check_beam_options, choose_workers, parse_workers

EXAMPLE = "python -m pipelines.featurize --input speech/ --output speech-features/ --preset speech-commands"
# What is done with odd clips: they are used, and the clips table says so.
POLICIES = {"silent": "keep", "truncated": "keep"}
# From so many clips on, two processes are sooner done than one, their start included.
_CLIPS_THAT_PAY = 8_000


@dataclass(frozen=True)
class Request:
    """What a featurize is asked for.

    Attributes:
        input: folder, or table that names recordings.
        output: folder of the feature set.
        spec: the front end.
        storage_format: `tfrecord` or `parquet`.
        group: rule of the groups, see `features.partition.group_rule`.
        split: percentages of training, validation and testing; None leaves it to the source or 80/10/10.
        limit: number of clips at most.
        layout: where a table says what.
        label_pattern: what finds the labels in the paths of a folder; None for the first folder below it.
        workers: worker processes of a local run, None to choose.
        beam_options: passed on to Beam.
    """

    input: str
    output: str
    spec: FeatureSpec
    storage_format: str = "tfrecord"
    group: str | None = None
    split: tuple[int, int, int] | None = None
    limit: int | None = None
    layout: TableLayout = field(default_factory=TableLayout)
    label_pattern: str | None = None
    workers: int | None = None
    beam_options: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """What chose and divided the clips, for the manifest."""
        return {"group": self.group, "split": list(self.split) if self.split else None, "limit": self.limit}


def find_clips(request: Request) -> tuple[Source, pa.Table]:
    """Lists the clips of the input with their groups and partitions, and says what is odd about them."""
    check_beam_options(request.beam_options)
    source = list_clips(
        request.input, request.layout, labelled=True, pattern=request.label_pattern, partitioned=request.split is None
    )
    source.columns = _used_columns(source, request)
    check_text([*source.described.values(), *source.columns.values(), request.group or ""])
    complete = source.kind == "folder"
    clips, notes = partition.assign(source.clips, source.root, request.group, request.split, complete)
    clips = limit(clips, request.limit)
    for note in (*source.notes, *notes, *partition.remarks(clips)):
        LOG.warning("warning: %s", note)
    return source, clips


def _used_columns(source: Source, request: Request) -> dict[str, str]:
    """Returns the columns of a table less those that --group or official lists overrule."""
    overruled = {"group"} if request.group is not None else set()
    if partition.official_lists(source.root):
        overruled |= {"partition", "fold"}
    return {role: name for role, name in source.columns.items() if role not in overruled}


def featurize(request: Request) -> tuple[Manifest, dict[str, Any]]:
    """Brings a feature set up to date with its source.

    Args:
        request: what is asked for.

    Returns:
        The committed state and the figures of the run.

    Raises:
        UsageError: the input cannot be used, or the output holds something else.
        RunError: the run failed; shards that it finished are kept for the next one.
    """
    started, scan_started_ns = time.monotonic(), time.time_ns()
    base = existing_manifest(request.output)
    source, clips = find_clips(request)
    check_base(base, source, request)
    folder = Path(os.path.abspath(request.output))
    plan = make_plan(clips, request.spec, request.storage_format, source.root, scan_started_ns)
    for name in ("shards", "reports", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    todo = [unit for unit, name in enumerate(plan.names) if not is_finished(folder, name, request.storage_format)]
    computed = sum(plan.first_rows[unit + 1] - plan.first_rows[unit] for unit in todo)
    if todo:
        _compute(request, folder, source, plan, todo, computed)
    manifest, committed = commit(
        folder,
        [read_report(folder, name) for name in plan.names],
        base,
        source.rejects,
        spec=request.spec,
        storage_format=request.storage_format,
        policies=POLICIES,
        source=source.described,
        options={**request.options, **({"columns": source.columns} if source.columns else {})},
    )
    seconds = time.monotonic() - started
    figures = {
        "seconds": seconds,
        "clips": manifest.counts["clips"],
        "computed": computed,
        "kept": len(clips) - computed,
        "rejected": manifest.counts["rejected"],
        "left_out": source.left_out,
        "clips_per_second": computed / seconds,
        "state": manifest.state,
    }
    if committed:
        hit_rate = figures["kept"] / len(clips)
        append_run(folder, {**figures, "scan_started_ns": scan_started_ns, "hit_rate": hit_rate})
    return manifest, figures


def check_base(base: Manifest | None, source: Source, request: Request) -> None:
    """Raises `UsageError` where the output holds the features of something else."""
    if base is None:
        return
    way_out = "give another --output"
    if base.spec.fingerprint != request.spec.fingerprint:
        raise UsageError(
            f"{request.output} holds features of another spec: {base.spec.differences(request.spec)} "
            f"(there against asked for); {way_out}"
        )
    if base.storage_format != request.storage_format:
        raise UsageError(f"{request.output} is stored as {base.storage_format}; ask for that or {way_out}")
    if base.source["root"] != source.root:
        raise UsageError(f"{request.output} was made from {base.source['root']}, not from {source.root}; {way_out}")
    tables = [described.get("table", "a folder") for described in (base.source, source.described)]
    if tables[0] != tables[1]:
        raise UsageError(f"{request.output} was made from {tables[0]}, not from {tables[1]}; {way_out}")


def _compute(request: Request, folder: Path, source: Source, plan: Plan, todo: list[int], clips: int) -> None:
    # Beam takes half a second to load, so it is not loaded where nothing is to be computed.
    from pipelines.runners import run_units
    from pipelines.transforms import BuildShards, ShardJob

    work_list = folder / "work" / f"units-{os.getpid()}.parquet"
    write_work_list(plan, todo, work_list)
    weights = {f"{plan.names[unit]}.parquet": plan.first_rows[unit + 1] - plan.first_rows[unit] for unit in todo}
    build = BuildShards(ShardJob(str(work_list), str(folder), source.root, request.spec, request.storage_format))
    workers = choose_workers(request.workers, len(todo), pays=clips >= _CLIPS_THAT_PAY)
    try:
        with follow(Progress("featurize", clips, "clips"), folder / "reports", weights):
            run_units(build, range(len(todo)), request.beam_options, workers)
    finally:
        work_list.unlink()
        with contextlib.suppress(OSError):  # another run's work list is in it
            work_list.parent.rmdir()


def describe(request: Request) -> tuple[str, dict[str, Any]]:
    """Returns what `--dry-run` prints and its figures: clips a class and partition, hours, what would be written."""
    started = time.monotonic()
    base = existing_manifest(request.output)
    source, clips = find_clips(request)
    check_base(base, source, request)
    audio_seconds, unreadable = seconds_of(clips, source.root)
    left_out = ", ".join(f"{number} {why}" for why, number in source.left_out.items())
    plan = make_plan(clips, request.spec, request.storage_format)
    figures = {
        "clips": len(clips),
        "rejected": unreadable + len(source.rejects),
        "left_out": source.left_out,
        "audio_seconds": audio_seconds,
        "shards": len(plan.names),
        "bytes": len(clips) * request.spec.row_bytes,
        "seconds": time.monotonic() - started,
    }
    lines = [
        *partition.count_table(clips),
        "",
        f"{len(clips):,} clips of {source.root}, {audio_seconds / 3600:.2f} hours; headers that cannot be read: "
        f"{unreadable:,}; other rejects: {len(source.rejects):,}; left out: {left_out or 'nothing'}",
        f"would write {len(plan.names):,} {request.storage_format} shards of {request.spec.front_end} features "
        f"{request.spec.shape}, about {figures['bytes'] / 1e9:.2f} GB, to {request.output}; nothing was written",
    ]
    return "\n".join(lines), figures


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = console.parser("Computes the features of a folder or table of recordings into shards.", EXAMPLE)
    result.epilog += "\n\nOptions that are not listed go to Beam, e.g. --runner=FlinkRunner --flink_master=HOST:PORT."
    result.add_argument(
        "--input", required=True, metavar="DIR|TABLE",
        help=f"folder with one folder per class, or a table ({' '.join(TABLE_ENDINGS)})",
    )  # fmt: skip
    result.add_argument("--output", required=True, metavar="FEATURES", help="folder of the feature set")
    front_end = result.add_mutually_exclusive_group()
    front_end.add_argument("--preset", choices=sorted(PRESETS), default="speech-commands", help="(%(default)s)")
    front_end.add_argument("--spec", metavar="FILE.toml", help="a front end of your own")
    result.add_argument("--format", choices=FORMATS, default="tfrecord", help="of the shards (%(default)s)")
    result.add_argument("--dry-run", action="store_true", help="say what would be done, and write nothing")
    result.add_argument("--limit", type=int, metavar="N", help="take N clips only, chosen by the hash of their path")
    result.add_argument(
        "--group", metavar="RULE",
        help="clips of a group share a partition: path, content, or a regular expression searched in the path "
        "(the speaker before _nohash_ where names have it, else the path)",
    )  # fmt: skip
    result.add_argument(
        "--split", metavar="T/V/T",
        help="percentages of training/validation/testing (what the source says, else 80/10/10)",
    )  # fmt: skip
    result.add_argument(
        "--label-pattern", metavar="REGEX",
        help="finds the label in the path of a file, as its named group label; groups named group and partition may "
        "stand beside it, e.g. '(?P<label>\\d)_(?P<group>\\w+)_' (the first folder below the input)",
    )  # fmt: skip
    table = result.add_argument_group("where a table says what")
    for name, metavar, text in (
        ("--root", "DIR", "where its paths begin (its own folder)"),
        ("--path-column", "NAME", "(path)"),
        ("--path-template", "TEXT", "a path with columns in braces instead, e.g. 'audio/fold{fold}/{name}'"),
        ("--label-column", "NAME", "(label)"),
        ("--partition-column", "NAME", "(partition, where it has one)"),
        ("--fold-column", "NAME", "its folds are the partitions (fold, where it has one and no partition)"),
        ("--group-column", "NAME", "(group, where it has one)"),
        ("--start-column", "NAME", "seconds at which clips begin within their files (none)"),
        ("--duration-column", "NAME", "seconds that they last (none)"),
    ):
        table.add_argument(name, metavar=metavar, help=text)
    result.add_argument("--workers", default="auto", metavar="N", help="worker processes (auto)")
    result.add_argument("--max-rejects", type=int, metavar="N", help="end with exit code 3 above so many rejects")
    return result


def main(options: argparse.Namespace, beam_options: list[str]) -> int:
    """Featurizes and prints what came of it."""
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"--limit is above 0, not {options.limit}")
    request = Request(
        input=options.input,
        output=options.output,
        spec=load_spec(options.spec) if options.spec else preset(options.preset),
        storage_format=options.format,
        group=options.group,
        split=partition.parse_split(options.split) if options.split else None,
        limit=options.limit,
        layout=TableLayout(**{part.name: getattr(options, part.name) for part in fields(TableLayout)}),
        label_pattern=options.label_pattern,
        workers=parse_workers(options.workers),
        beam_options=tuple(beam_options),
    )
    if options.dry_run:
        text, figures = describe(request)
        console.finish(options, text, figures)
        return console.exit_code(figures["rejected"], options.max_rejects)
    manifest, figures = featurize(request)
    clips = ", ".join(f"{manifest.rows([name]):,} {name}" for name in manifest.partitions)
    paragraph = (
        f"{figures['clips']:,} clips in {len(manifest.classes)} classes ({clips}); {figures['computed']:,} computed "
        f"and {figures['kept']:,} kept in {figures['seconds']:.1f} s ({figures['clips_per_second']:,.0f} computed a "
        "second)."
    )
    paragraph += console.rejects_sentence(manifest.counts["rejects"], Path(options.output) / manifest.rejects_file)
    folds = partition.train_options(list(manifest.partitions))
    paragraph += f" Next: python -m model.train --features {options.output} --output RUN{folds}"
    console.finish(options, paragraph, figures)
    return console.exit_code(figures["rejected"], options.max_rejects)


if __name__ == "__main__":
    console.run(main, parser(), beam=True)
