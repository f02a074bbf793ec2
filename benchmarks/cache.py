"""Measures the feature cache on many clips made from real ones and prints one table: python benchmarks/cache.py.

The clips are those of Speech Commands, each rolled by another number of samples, so that no two have one content, in
folders of two levels, with times long past, so that none has to be hashed for being new. What a user runs is run as a
process and timed from outside, its start included; files were read or written a moment ago and stand in the page
cache. Each step changes the source, and begins by bringing the set up to date, which is not timed.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from clips import LINKS, Clips, benchmark_parser, find_originals, link_clips
from measure import WALK, machine, spread

from features.errors import UsageError
from features.frontend.presets import PRESETS, load_spec, preset
from features.frontend.spec import FeatureSpec
from features.io.unit_file import UnitFile
from features.runtime.quantities import size_text
from features.store.layout import FORMATS
from features.store.manifest import Manifest, load_manifest
from features.store.run_log import append_run
from features.store.shards import read_shard
from features.update.request import Request
from features.update.shard_builder import build_shard
from features.update.work_list import read_unit

TRIES = 5
ADDED, ADDITIONS, REMOVED = 100, 3, 1_000
GROWTH_RUNS, GROWTH_CLIPS = 100, 60
PLAN_BYTES, PLAN_CLIPS = 1.5 * 2**30, 1_000_000
COUNTS = ("computed", "copied", "kept", "removed")
HEAVY = ("apache_beam", "keras", "tensorflow")
# Rows as small as they get: what is measured with it is what a clip costs beside its features.
TINY = 'preset = "speech-commands"\nclip_seconds = 0.005\nwindow_samples = 16\nhop_samples = 16\nfft_samples = 16\n'
RERUN_AND_MODULES = f"""
import sys
from pipelines import featurize
featurize.main(*featurize.parser().parse_known_args(sys.argv[1:]))
print(*sorted({set(HEAVY)} & set(sys.modules)))
print("pandas" in sys.modules)
"""


@dataclass
class Line:
    """A line of the table.

    Attributes:
        step: what was done.
        seconds: of each try.
        figures: of the run, from its summary.
        remark: what else was measured.
        goal: what was required.
        holds: whether that was reached.
    """

    step: str
    seconds: list[float] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    remark: str = ""
    goal: str = ""
    holds: bool | None = None

    def text(self) -> str:
        """Returns the line as Markdown."""
        cells = [self.step, spread(self.seconds), f"{self.figures['cpu_seconds']:.2f}" if self.figures else ""]
        cells += [f"{self.figures[name]:,}" if self.figures else "" for name in COUNTS]
        cells.append(size_text(self.figures["written_bytes"]) if self.figures else "")
        cells += [self.remark, self.goal, {None: "", True: "yes", False: "**no**"}[self.holds]]
        return f"| {' | '.join(cells)} |"


HEADER = (
    "| step | seconds (of several: median, least to most) | CPU seconds | computed | copied | kept | removed | "
    "shards written | measured | goal | reached |\n|---|---|---|---|---|---|---|---|---|---|---|"
)


def process(*arguments: object) -> tuple[float, str]:
    """Runs Python and returns the seconds that it took and what it printed."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True)
    return time.perf_counter() - started, done.stdout


def children_cpu_seconds() -> float:
    """Returns what all processes took of the cores that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Benchmark:
    """The source, its set, and the lines of the table."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Makes the source where there is none."""
        self.options = options
        self.output: Path = options.output.absolute()
        self.source, self.set, self.summary = (self.output / name for name in ("source", "set", "summary.json"))
        self.command = ("--input", self.source, "--output", self.set, "--preset", options.preset,
                        "--format", options.format, "--summary", self.summary)  # fmt: skip
        self.originals = find_originals(options.data)
        self.lines: list[Line] = []
        self.rerun_seconds: list[float] = []
        self.cold_seconds: float | None = None
        self.clips = Clips(self.source)
        self.counter = self.output / "source.json"  # clips requested, and made since
        if self.counter.exists():
            asked, self.clips.made = json.loads(self.counter.read_text(encoding="utf-8"))
            if asked != options.clips:
                raise UsageError(f"{self.source} was made of {asked:,} clips, not of {options.clips:,}; give another "
                                 "--output")  # fmt: skip
        else:
            shutil.rmtree(self.source, ignore_errors=True)
            self.add_clips(options.clips)

    def add_clips(self, number: int) -> None:
        """Adds clips to the source."""
        self.clips.make(self.originals, number)
        self.counter.write_text(json.dumps([self.options.clips, self.clips.made]), encoding="utf-8")

    def say(self, line: Line) -> None:
        """Adds a line to the table, and shows it."""
        self.lines.append(line)
        print(line.text(), file=sys.stderr, flush=True)

    def featurize(self, *options: object) -> tuple[float, dict[str, Any]]:
        """Runs featurize; returns its seconds and its figures."""
        before = children_cpu_seconds()
        seconds, _ = process("-m", "pipelines.featurize", *self.command, *options)
        figures = json.loads(self.summary.read_text(encoding="utf-8"))
        return seconds, {**figures, "cpu_seconds": children_cpu_seconds() - before}

    def settle(self) -> None:
        """Brings the set up to date, and makes room: a changed set is written anew, and its old shards stay."""
        self.featurize()
        process("-m", "features.prune", self.set, "--keep", 0, "--min-age", 0)
        os.sync()  # what the disk still has to do for this shall not be waited for by what follows

    def cold(self) -> None:
        """Computes the whole set."""
        shutil.rmtree(self.set, ignore_errors=True)
        seconds, figures = self.featurize()
        self.cold_seconds = seconds
        source_bytes = sum(path.stat().st_size for path in self.source.rglob("*.wav"))
        remark = (f"{figures['clips'] / seconds:,.0f} clips/s; {size_text(source_bytes)} of sound, "
                  f"{size_text(figures['written_bytes'])} of shards")  # fmt: skip
        self.say(Line("cold", [seconds], figures, remark))

    def reruns(self, tries: int, imports: str = "import pipelines.featurize") -> dict[str, list[float]]:
        """Times a walk over the source, imports and an unchanged rerun, in turns."""
        taken: dict[str, list[float]] = {name: [] for name in ("walk", "walk_process", "imports", "rerun", "cpu")}
        for _ in range(tries):
            seconds, printed = process("-c", WALK, self.source)
            taken["walk_process"].append(seconds)
            taken["walk"].append(float(printed.split()[1]))
            taken["imports"].append(process("-c", imports)[0])
            seconds, figures = self.featurize()
            taken["rerun"].append(seconds)
            taken["cpu"].append(figures["cpu_seconds"])
        return taken

    def rerun(self) -> None:
        """Runs again with nothing to do."""
        self.settle()
        *_, loaded, pandas = process("-c", RERUN_AND_MODULES, *self.command)[1].splitlines()
        # pyarrow imports pandas where it is installed, at its first array.
        imported = "import pipelines.featurize" + ("; import pandas" if pandas == "True" else "")
        taken = self.reruns(TRIES, imported)
        figures = json.loads(self.summary.read_text(encoding="utf-8"))
        figures["cpu_seconds"] = statistics.median(taken["cpu"])
        walk, imports, rerun = (statistics.median(taken[name]) for name in ("walk", "imports", "rerun"))
        self.rerun_seconds = taken["rerun"]
        self.say(Line("os.scandir and stat of every file", taken["walk"],
                      remark=f"with the start of its process {spread(taken['walk_process'])} s"))  # fmt: skip
        self.say(Line("Python's start and imports", taken["imports"], remark=f"`{imported}`"))
        unchanged = figures["kept"] == figures["clips"] and not figures["written_bytes"] and not figures["committed"]
        self.say(Line("unchanged rerun", taken["rerun"], figures,
                      f"{(rerun - imports) / walk:.1f} walks and imports; loaded of {', '.join(HEAVY)}: "
                      f"{loaded or 'nothing'}",
                      f"3 walks and imports ({3 * walk + imports:.2f} s), 3 s, none of these loaded",
                      unchanged and rerun <= min(3 * walk + imports, 3) and not loaded))  # fmt: skip

    def add(self) -> None:
        """Adds a few clips, several times."""
        self.settle()
        rerun = statistics.median(self.rerun_seconds or self.reruns(ADDITIONS)["rerun"])
        above: list[float] = []
        for number in range(1, ADDITIONS + 1):
            self.add_clips(ADDED)
            seconds, figures = self.featurize()
            rows = figures["written_bytes"] / (self.set_bytes() / figures["clips"])
            merged = rows > 1.5 * ADDED
            if not merged:
                above.append(seconds - rerun)
            remark = f"{seconds - rerun:.2f} s above the rerun; " + (
                f"small shards were merged: {rows:,.0f} rows written" if merged else "no shard was merged"
            )
            self.say(Line(f"+{ADDED} clips, {number}", [seconds], figures, remark, "all else kept",
                          (figures["computed"], figures["copied"]) == (ADDED, 0)))  # fmt: skip
        if above:
            self.say(Line(f"+{ADDED} clips above the rerun, without merging", above, goal="2 s",
                          holds=statistics.median(above) <= 2))  # fmt: skip

    def set_bytes(self) -> int:
        """Returns the size of the set's shards."""
        manifest = load_manifest(self.set)
        return sum(shard.bytes for shard in manifest.all_shards)

    def changed(self, step: str, moved: int, removed: int = 0, *options: object) -> None:
        """Times a run after a change that leaves nothing to be computed."""
        before = load_manifest(self.set).counts["clips"]
        seconds, figures = self.featurize(*options)
        expected = {"computed": 0, "copied": moved, "kept": before - moved - removed, "removed": removed, "rejected": 0}
        remark = f"{figures['written_bytes'] / self.set_bytes():.0%} of the set written"
        if self.cold_seconds is not None:
            remark += f", in {seconds / self.cold_seconds:.2f} of the time of the cold run"
        holds = all(figures[name] == value for name, value in expected.items())
        self.say(Line(step, [seconds], figures, remark, "nothing computed, all found", holds))

    def copy(self) -> None:
        """Copies the shards as they are, which is the least that a change of every shard takes."""
        there = self.output / "copy"
        there.mkdir()
        started = time.perf_counter()
        for path in (self.set / "shards").iterdir():
            with open(path, "rb") as source, open(there / path.name, "wb") as target:
                shutil.copyfileobj(source, target, 2**20)
                os.fsync(target.fileno())
        self.say(Line("a plain copy of all shards, with fsync", [time.perf_counter() - started]))
        shutil.rmtree(there)

    def rename(self, *names: str) -> int:
        """Renames a folder from one name to the other, whichever is there; returns how many clips are in it."""
        here, there = names if (self.source / names[0]).exists() else names[::-1]
        (self.source / here).rename(self.source / there)
        return sum(1 for _ in (self.source / there).rglob("*.wav"))

    def relabel(self) -> None:
        """Changes the label of a class: by the folder's name, and by another pattern, where paths stay."""
        self.settle()
        self.copy()
        self.changed("relabel of a class, its folder renamed", self.rename("yes", "affirmative"))
        self.settle()
        moved = sum(1 for _ in (self.source / "stop").rglob("*.wav"))
        pattern = ("--label-pattern", "^(stop/)?(?P<label>[^/]+)")
        self.changed("relabel of a class by --label-pattern, paths as they were", moved, 0, *pattern)

    def rename_folder(self) -> None:
        """Renames a folder that is not a class."""
        self.settle()
        self.changed("rename of a folder below a class", self.rename("left/part-1", "left/part-one"))

    def remove(self) -> None:
        """Removes clips here and there."""
        self.settle()
        paths = sorted(self.source.rglob("*.wav"))
        number = min(REMOVED, len(paths) // 20)
        for path in random.Random(self.clips.made).sample(paths, number):
            path.unlink()
        self.changed(f"removal of {number:,}", 0, number)

    def growth(self) -> None:
        """Compares sets that grew in many small runs with sets of one run."""
        runs = min(GROWTH_RUNS, max(20, self.options.clips // 200))
        for name in dict.fromkeys((self.options.preset, "urbansound-mfcc")):
            folder = self.output / "growth"
            shutil.rmtree(folder, ignore_errors=True)
            clips, spec, written = Clips(folder / "source"), preset(name), 0
            started = time.perf_counter()
            for _ in range(runs):
                clips.make(self.originals, GROWTH_CLIPS)
                grown, run_bytes = featurize_here(folder / "source", folder / "grown", spec, self.options.format)
                written += run_bytes
            growing = time.perf_counter() - started
            cold, _ = featurize_here(folder / "source", folder / "cold", spec, self.options.format)
            taken: dict[Path, list[float]] = {folder / "cold": [], folder / "grown": []}
            for _ in range(TRIES):
                for place, seconds in taken.items():
                    seconds.append(read_seconds(place, cold if place.name == "cold" else grown))
            ratio = statistics.median(taken[folder / "grown"]) / statistics.median(taken[folder / "cold"])
            size = sum(shard.bytes for shard in grown.all_shards)
            equal = rows_of(folder / "grown", grown) == rows_of(folder / "cold", cold)
            shards = [len(manifest.all_shards) for manifest in (grown, cold)]
            remark = (f"{growing:.0f} s in all, in one process; {shards[0]} shards, {shards[1]} of a cold run; rows "
                      f"{'equal' if equal else 'DIFFER'}")  # fmt: skip
            self.say(Line(f"{name}: {runs} runs of +{GROWTH_CLIPS} clips", [], {}, remark, "equal rows", equal))
            self.say(Line(f"{name}: reading the grown set", taken[folder / "grown"],
                          remark=f"{ratio:.2f} of the cold run's {spread(taken[folder / 'cold'])} s",
                          goal="1.2", holds=ratio <= 1.2))  # fmt: skip
            self.say(Line(f"{name}: shard bytes written in all runs",
                          remark=f"{size_text(written)}, {written / size:.2f} of the set's {size_text(size)}",
                          goal="below 3", holds=written < 3 * size))  # fmt: skip
            shutil.rmtree(folder)

    def memory(self) -> None:
        """Measures the peak of plans of ever more clips, of a new set and of one that has them all."""
        folder = self.output / "names"
        shutil.rmtree(folder, ignore_errors=True)
        most = min(PLAN_CLIPS, 10 * self.options.clips)
        sizes = (most // 4, most // 2, most)
        linked = Clips(folder / "linked", shortened=3_200)  # a tenth of a second
        linked.make(self.originals, -(-most // LINKS))
        linked_to = sorted(linked.folder.rglob("*.wav"))
        spec = folder / "tiny.toml"
        spec.write_text(TINY, encoding="utf-8")
        source, committed = folder / "source", folder / "set"
        peaks: dict[str, list[int]] = {}
        before = 0
        for number in sizes:
            link_clips(linked_to, source, before, number)
            before = number
            plans = {"plan of a new set": (planned, folder / "none"), "plan of a rerun": (planned, committed),
                     "whole rerun": (rerun_here, committed)}  # fmt: skip
            for name, (function, output) in plans.items():
                if name == "plan of a rerun":
                    process("-m", "pipelines.featurize", "--input", source, "--output", output, "--spec", spec)
                seconds, peak = in_a_process(function, source, output, spec)
                peaks.setdefault(name, []).append(peak)
                goal = "1.5 GiB" if number == PLAN_CLIPS and name != "whole rerun" else ""
                self.say(Line(f"{name}, {number:,} clips", [seconds], remark=f"peak {peak / 2**20:,.0f} MiB",
                              goal=goal, holds=peak <= PLAN_BYTES if goal else None))  # fmt: skip
        for name, (least, _, largest) in peaks.items():
            slope = (largest - least) / (sizes[-1] - sizes[0])
            self.say(Line(f"{name}: a clip more", remark=f"{slope:,.0f} bytes; 100 million clips would take "
                          f"{(largest + slope * (1e8 - most)) / 2**30:,.0f} GiB"))  # fmt: skip
        shutil.rmtree(folder)


def featurize_here(source: Path, output: Path, spec: FeatureSpec, storage_format: str) -> tuple[Manifest, int]:
    """Does in this process, without Beam, what featurize does; returns the state and the shard bytes written."""
    request = Request(str(source), str(output), spec, storage_format)
    update = request.read()
    update.layout.make_folders()
    work_list = output.with_name("units.arrow")
    update.write_work_list(work_list)
    with UnitFile(work_list) as units:
        for number in range(len(update.todo)):
            build_shard(read_unit(units, number), update.layout, update.source.root, spec)
    manifest, _ = update.commit()
    append_run(update.layout, {"state": manifest.state, "scan_started_ns": update.scan_started_ns})
    return manifest, update.written_bytes(manifest)


def read_seconds(folder: Path, manifest: Manifest) -> float:
    """Reads and checks every shard of a set, and returns how long that took."""
    started = time.perf_counter()
    for shard in manifest.all_shards:
        read_shard(manifest.layout(folder), shard, manifest.spec)
    return time.perf_counter() - started


def rows_of(folder: Path, manifest: Manifest) -> list[tuple[str, int]]:
    """Returns path and checksum of every row."""
    rows = pq.read_table(folder / manifest.clips_file, columns=["path", "crc32c"])
    return sorted(zip(rows["path"].to_pylist(), rows["crc32c"].to_pylist(), strict=True))


def planned(source: Path, output: Path, spec: Path) -> tuple[float, int]:
    """Plans, and returns the seconds and the peak of this process's memory."""
    started = time.perf_counter()
    Request(str(source), str(output), load_spec(str(spec)).spec).read()
    return time.perf_counter() - started, peak_bytes()


def rerun_here(source: Path, output: Path, spec: Path) -> tuple[float, int]:
    """Runs featurize, and returns the seconds and the peak of this process's memory."""
    from pipelines.featurize import featurize

    started = time.perf_counter()
    featurize(Request(str(source), str(output), load_spec(str(spec)).spec))
    return time.perf_counter() - started, peak_bytes()


def peak_bytes() -> int:
    """Returns the most memory that this process held; getrusage would include the one that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def in_a_process(function: Callable[..., tuple[float, int]], *arguments: object) -> tuple[float, int]:
    """Calls a function in a new process."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


STEPS = {
    "cold": Benchmark.cold,
    "rerun": Benchmark.rerun,
    "add": Benchmark.add,
    "relabel": Benchmark.relabel,
    "rename": Benchmark.rename_folder,
    "remove": Benchmark.remove,
    "growth": Benchmark.growth,
    "memory": Benchmark.memory,
}


def main() -> None:
    """Measures and prints."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--clips", type=int, default=100_000, help="number of clips (%(default)s)")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="speech-commands", help="(%(default)s)")
    parser.add_argument("--format", choices=FORMATS, default="tfrecord", help="of the shards (%(default)s)")
    parser.add_argument("--steps", default=",".join(STEPS), help="some of %(default)s; all but cold need its set")
    parser.add_argument("--clean", action="store_true", help="remove the clips and the set at the end")
    options = parser.parse_args()
    steps = options.steps.split(",")
    if not set(steps) <= STEPS.keys():
        parser.error(f"--steps is a comma list of {', '.join(STEPS)}, not {options.steps}")
    started, where = time.monotonic(), machine("numpy", "pyarrow", "apache-beam")
    benchmark = Benchmark(options)
    for name in steps:
        STEPS[name](benchmark)
    if options.clean:
        for path in (benchmark.source, benchmark.set):
            shutil.rmtree(path, ignore_errors=True)
        for path in (benchmark.counter, benchmark.summary):
            path.unlink(missing_ok=True)
    print(f"The feature cache on {options.clips:,} clips, {options.preset} features as {options.format}. {where}.\n")
    print(HEADER, *(line.text() for line in benchmark.lines), sep="\n")
    print(f"\n{time.monotonic() - started:,.0f} s in all.")


if __name__ == "__main__":
    main()
