"""Works out what a featurize of millions of clips takes from what few take here: python benchmarks/scale_model.py.

All costs of a clip, of a file and of a unit are measured in the same run, on clips made of real ones, and checked: what
they say of a larger run, and of one of two workers, is printed beside what that run took. Prices are arguments.
"""

import argparse
import concurrent.futures
import multiprocessing
import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clips import LINKS, benchmark_parser, find_originals, link_clips, made
from measure import PYTHON, machine, run

from features.frontend.presets import preset
from features.frontend.windows import windowing_of
from features.io.unit_file import UnitFile
from features.sources.folder import scan
from features.store.clips_table import read_clips
from features.store.manifest import load_manifest
from features.store.unit_report import read_report
from features.update.request import Request
from features.update.work_list import read_unit
from model.scoring.plan import plan_batches

SIZES = (10**6, 10**8, 10**9)
PRESET = "speech-commands"
GIB, MIB = 2**30, 2**20
# Of an object store: names a page of a listing, and bytes a part of an upload.
PAGE_NAMES, PART_BYTES = 1_000, 8 * MIB
# Times that are measured within a process are those of its cores, which what else the machine does changes little.


@dataclass(frozen=True)
class Line:
    """A cost that grows with a number: `fixed + each * number`, through two measured points."""

    fixed: float
    each: float

    @classmethod
    def through(cls, few: tuple[int, float], many: tuple[int, float]) -> "Line":
        """Returns the line through two points of number and cost."""
        each = (many[1] - few[1]) / (many[0] - few[0])
        return cls(few[1] - each * few[0], each)

    def at(self, number: float) -> float:
        """Returns the cost of a number."""
        return self.fixed + self.each * number


@dataclass(frozen=True)
class Costs:
    """What was measured.

    Attributes:
        cpu_seconds: of a whole featurize with one worker, by clips.
        plan_seconds: of listing and planning in the driver, by clips.
        plan_bytes: peak of the driver at that, by clips.
        list_seconds: of writing the work list, by clips.
        list_bytes: its size a clip.
        unit_seconds: of reading a unit of it.
        unit_clips: clips of a unit.
        shard_bytes: a clip.
        report_bytes: a unit.
        report_seconds: of reading a report at the commit.
        manifest_bytes: a unit.
        table_bytes: of the clips table, a clip, on disk.
        table_memory_bytes: of it in memory.
        recording_bytes: a clip.
        header_seconds: of reading a header, a file.
        score_bytes: of the plan of a score, a file.
    """

    cpu_seconds: Line
    plan_seconds: Line
    plan_bytes: Line
    list_seconds: Line
    list_bytes: float
    unit_seconds: float
    unit_clips: float
    shard_bytes: float
    report_bytes: float
    report_seconds: float
    manifest_bytes: float
    table_bytes: float
    table_memory_bytes: float
    recording_bytes: float
    header_seconds: float
    score_bytes: float

    def __str__(self) -> str:
        """Returns them as lines of a list."""
        lines = (
            f"a clip in the workers, decoded, computed and written: {self.cpu_seconds.each * 1e6:,.0f} µs of a core, "
            f"and {self.cpu_seconds.fixed:.1f} s a run; {self.shard_bytes:,.0f} bytes of a shard",
            f"a clip in the driver, listed and planned: {self.plan_seconds.each * 1e6:.1f} µs and "
            f"{self.plan_bytes.each:,.0f} bytes; {self.list_seconds.each * 1e6:.1f} µs and {self.list_bytes:.0f} bytes "
            "of the work list",
            f"a unit of {self.unit_clips:,.0f} clips, read from the work list: {self.unit_seconds * 1e3:.1f} ms; its "
            f"report: {self.report_bytes:,.0f} bytes, {self.report_seconds * 1e3:.1f} ms at the commit; in the "
            f"manifest: {self.manifest_bytes:.0f} bytes",
            f"a clip in the clips table: {self.table_bytes:.0f} bytes, {self.table_memory_bytes:.0f} in memory",
            f"a file of a score: {self.header_seconds * 1e6:.0f} µs to read its header, {self.score_bytes:.0f} bytes "
            "of its plan in the driver",
        )
        return "\n".join(f"- {line}" for line in lines)


def measure(options: argparse.Namespace) -> tuple[Costs, str]:
    """Returns the costs, and what they say of runs beside what these took."""
    spec, work = preset(PRESET), options.output / "scale"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    originals = find_originals(options.data)
    counts = options.clips // 8, options.clips // 2, options.clips
    sources = [made(options.output / f"clips-{count}", originals, count) for count in counts]
    runs = [featurize(source, work / f"set-{count}", 1) for source, count in zip(sources, counts, strict=True)]
    few_by_two, two = (featurize(sources[number], work / f"set-two-{number}", 2) for number in (0, -1))
    cpu = Line.through((counts[0], runs[0][1]), (counts[1], runs[1][1]))
    wall = Line.through((counts[0], runs[0][0]), (counts[1], runs[1][0]))
    # Of two workers, a small run says what their start takes; the rest is half the time and as much of the cores'.
    more = counts[-1] - counts[0]
    by_two = few_by_two[0] + wall.each * more / 2, few_by_two[1] + cpu.each * more
    checks = (
        f"| 1 worker | {counts[-1]:,} | {wall.at(counts[-1]):.1f} | {runs[-1][0]:.1f} | {cpu.at(counts[-1]):.1f} | "
        f"{runs[-1][1]:.1f} |",
        f"| 2 workers | {counts[-1]:,} | {by_two[0]:.1f} | {two[0]:.1f} | {by_two[1]:.1f} | {two[1]:.1f} |",
    )
    folder = work / f"set-{counts[-1]}"
    manifest = load_manifest(folder)
    layout, shards = manifest.layout(folder), manifest.all_shards
    started = time.process_time()
    for shard in shards:
        read_report(layout, shard.name)
    report_seconds = (time.process_time() - started) / len(shards)
    linked = originals[: options.plan_clips // LINKS + 1]
    shown = [shutil.copy(original, work / f"{number}.wav") for number, original in enumerate(linked)]
    plans = []
    for count in (options.plan_clips // 4, options.plan_clips):
        source = work / f"links-{count}"
        link_clips([Path(path) for path in shown], source, 0, count)
        plans.append((count, *in_a_process(plan, source, work / f"empty-{count}")))
    (few, *one), (many, *other) = plans
    seconds, peak, writing = (Line.through((few, a), (many, b)) for a, b in zip(one[:3], other[:3], strict=True))
    table = read_clips(layout, manifest)
    costs = Costs(
        cpu_seconds=cpu,
        plan_seconds=seconds,
        plan_bytes=peak,
        list_seconds=writing,
        list_bytes=other[3] / many,
        unit_seconds=other[4],
        unit_clips=min(1_024, 64 * MIB / spec.row_bytes),
        shard_bytes=sum(shard.bytes for shard in shards) / len(table),
        report_bytes=sum(layout.report(shard.name).stat().st_size for shard in shards) / len(table) * 1_024,
        report_seconds=report_seconds,
        manifest_bytes=(len(manifest.to_json()) - len(replace(manifest, partitions={}).to_json())) / len(shards),
        table_bytes=layout.path(manifest.clips_file).stat().st_size / len(table),
        table_memory_bytes=table.nbytes / len(table),
        recording_bytes=sum(table["size"].to_pylist()) / len(table),
        **in_a_process(plan_score, sources[-1]),
    )
    shutil.rmtree(work)
    head = "| | clips | wall s, by the model | wall s | CPU s, by the model | CPU s |\n|---|---|---|---|---|---|"
    return costs, "\n".join((head, *checks))


def featurize(source: Path, output: Path, workers: int) -> tuple[float, float]:
    """Runs the command; returns its seconds and those of all its processes' cores."""
    named = {"--input": source, "--output": output, "--preset": PRESET, "--workers": workers}
    seconds, cpu_seconds, _, _ = run([PYTHON, "-m", "pipelines.featurize",
                                      *(str(part) for pair in named.items() for part in pair)])  # fmt: skip
    return seconds, cpu_seconds


def plan(source: Path, output: Path) -> tuple[float, float, float, int, float]:
    """Plans; returns seconds, peak in bytes, seconds and bytes of the work list, and seconds to read a unit of it."""
    started = time.process_time()
    update = Request(str(source), str(output), preset(PRESET)).read()
    planned = time.process_time()
    work_list = output.with_suffix(".units")
    update.write_work_list(work_list)
    written = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # mapped files, which could be dropped, included
    numbers = range(0, len(update.todo), max(1, len(update.todo) // 20))
    with UnitFile(work_list) as units:
        for number in numbers:
            read_unit(units, number)
    unit_seconds = (time.process_time() - written) / len(numbers)
    return planned - started, peak, written - planned, work_list.stat().st_size, unit_seconds


def plan_score(source: Path) -> dict[str, float]:
    """Returns what a file costs the plan of a score."""
    spec = preset(PRESET)
    listed = scan(str(source), labelled=False).clips
    started = time.process_time()
    planned = plan_batches(str(source), listed["path"].to_pylist(), spec, windowing_of(spec))
    seconds = time.process_time() - started
    columns = (planned.paths, planned.files, planned.first_windows, planned.num_windows, planned.shortened)
    held = listed.nbytes - listed["path"].nbytes + sum(column.nbytes for column in columns)
    return {"header_seconds": seconds / len(listed), "score_bytes": held / len(listed)}


def in_a_process(function: Callable[..., object], *arguments: object) -> Any:
    """Calls a function in a new process."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def scaled(costs: Costs, options: argparse.Namespace) -> str:
    """Returns the table: sizes, requests, memory, time and money for each number of clips."""
    columns = [column(costs, clips, options) for clips in SIZES]
    lines = ["| | " + " | ".join(f"{clips:,} clips" for clips in SIZES) + " |", "|---" * (len(SIZES) + 1) + "|"]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(one[name] for one in columns)} |" for name in columns[0])])


def column(costs: Costs, clips: int, options: argparse.Namespace) -> dict[str, str]:
    """Returns what a number of clips takes."""
    units = clips / costs.unit_clips
    unit_bytes = costs.shard_bytes * costs.unit_clips
    shard_bytes, tables = costs.shard_bytes * clips, costs.table_bytes * clips + costs.report_bytes * units
    # Of each unit: its range of the work list, a look at the lease, its report, and its shard in parts.
    parts = -(-unit_bytes // PART_BYTES) + 2
    puts = units * (parts + 1) + clips / PAGE_NAMES + 3 * units / PAGE_NAMES
    gets = clips + 3 * units
    core_hours = costs.cpu_seconds.at(clips) / 3600
    driver_seconds = costs.plan_seconds.at(clips) + costs.list_seconds.at(clips) + costs.report_seconds * units
    dollars = {
        "cores": core_hours * options.core_hour,
        "requests": puts / 1e3 * options.thousand_puts + gets / 1e3 * options.thousand_gets,
        "a month of shards": (shard_bytes + tables) / 1e9 * options.gb_month,
    }
    return {
        "units": f"{units:,.0f}",
        "recordings read": size(costs.recording_bytes * clips),
        "shards": size(shard_bytes),
        "tables and reports": size(tables),
        "work list": size(costs.list_bytes * clips),
        "manifest": size(costs.manifest_bytes * units),
        "requests that read, that list or write": f"{gets:,.0f}, {puts:,.0f}",
        "driver: memory of the plan": size(costs.plan_bytes.at(clips)),
        "driver: the clips table at the commit": size(costs.table_memory_bytes * clips),
        "driver: core time to plan, write the list and read reports": duration(driver_seconds),
        f"driver: a listing, page after page of {options.latency_ms} ms": duration(
            clips / PAGE_NAMES * options.latency_ms / 1e3
        ),
        "driver: plan of a score of as many files": size(costs.score_bytes * clips),
        "headers of a score, one core": duration(costs.header_seconds * clips),
        "core hours": f"{core_hours:,.1f}",
        f"time on {options.cores} cores, the driver's aside": duration(core_hours * 3600 / options.cores),
        "dollars: cores, requests, a month of shards": ", ".join(f"{part:,.2f}" for part in dollars.values()),
    }


def limits(costs: Costs, options: argparse.Namespace) -> str:
    """Returns from how many clips on a part of the design is too small, the first one first."""
    memory = options.driver_gib * GIB
    held = costs.table_memory_bytes + costs.table_bytes * 2
    by_part = {
        f"the plan of a featurize does not fit {options.driver_gib} GiB of a driver": memory / costs.plan_bytes.each,
        "the clips table, built whole before it is written, does not fit them beside the plan": memory
        / (costs.plan_bytes.each + held),
        f"a listing, page after page of {options.latency_ms} ms, takes longer than an hour": 3600
        / options.latency_ms
        * 1e3
        * PAGE_NAMES,
        "the driver plans for longer than an hour": 3600 / (costs.plan_seconds.each + costs.list_seconds.each),
        "the commit reads reports for longer than an hour": 3600 / costs.report_seconds * costs.unit_clips,
        "the manifest, which every reader parses, has more than 100 MB": 1e8 / costs.manifest_bytes * costs.unit_clips,
        f"the plan of a score does not fit {options.driver_gib} GiB": memory / costs.score_bytes,
    }
    return "\n".join(
        f"- {clips:.1e} clips: {what}" for what, clips in sorted(by_part.items(), key=lambda part: part[1])
    )


def size(number: float) -> str:
    """Returns bytes in a unit that a person reads."""
    units = ["B", "kB", "MB", "GB", "TB", "PB"]
    while number >= 1000 and len(units) > 1:
        number /= 1000
        del units[0]
    return f"{number:,.1f} {units[0]}"


def duration(seconds: float) -> str:
    """Returns a time in a unit that a person reads."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.1f} s"


def main() -> None:
    """Measures, works out and prints."""
    parser = benchmark_parser(__doc__, clips=40_000)
    parser.add_argument("--plan-clips", type=int, default=400_000, help="clips that are planned alone (%(default)s)")
    parser.add_argument("--cores", type=int, default=64, help="of the workers (%(default)s)")
    parser.add_argument("--driver-gib", type=int, default=32, help="memory of the driver (%(default)s)")
    parser.add_argument("--latency-ms", type=int, default=50, help="of a request to a store (%(default)s)")
    parser.add_argument("--core-hour", type=float, default=0.04, help="dollars an hour of a core (%(default)s)")
    parser.add_argument("--thousand-puts", type=float, default=0.005, help="dollars, lists too (%(default)s)")
    parser.add_argument("--thousand-gets", type=float, default=0.0004, help="dollars (%(default)s)")
    parser.add_argument("--gb-month", type=float, default=0.023, help="dollars a month to store a GB (%(default)s)")
    options = parser.parse_args()
    where = machine("numpy", "pyarrow", "apache-beam")
    costs, checks = measure(options)
    prices = (f"{options.core_hour} dollars an hour of a core, {options.thousand_puts} a thousand requests that write "
              f"or list, {options.thousand_gets} that read, {options.gb_month} a GB and month")  # fmt: skip
    print(f"{PRESET}, clips of one second. {where}.\n\nMeasured:\n\n{costs}\n\n{checks}\n\nAt {prices}:\n")
    print(f"{scaled(costs, options)}\n\nToo small, from so many clips on:\n\n{limits(costs, options)}")


if __name__ == "__main__":
    main()
