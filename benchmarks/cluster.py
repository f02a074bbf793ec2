"""Measures featurize on Flink, two TaskManagers against one, and the run of a few clips: python benchmarks/cluster.py.

It starts and stops a cluster of its own in the folder of `make cluster`, which must not run one. CPU time is that of
the driver, of the workers, and of the cluster's own processes while the run lasts. On a machine with other work the
ratio of CPU times a clip is what to look at; that of wall times is for free cores.
"""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from clips import benchmark_parser, find_originals, made
from measure import PYTHON, machine, run, spread

from pipelines.cluster.cluster import Cluster, State
from pipelines.cluster.members import Size

PACKAGES = ("apache-beam", "numpy", "scipy")
FEW = 8
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Times:
    """What runs took, in seconds."""

    wall: list[float] = field(default_factory=list)
    workers: list[float] = field(default_factory=list)
    all: list[float] = field(default_factory=list)

    def add(self, wall: float, workers: float, others: float) -> None:
        """Adds a run; CPU times of the workers, and of all else."""
        self.wall.append(wall)
        self.workers.append(workers)
        self.all.append(workers + others)


def cpu_seconds(state: State) -> tuple[float, float]:
    """Returns the CPU time of the cluster's own processes, and of the workers that these have seen end."""
    own = started = 0
    for process in state.processes.values():
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        own += int(fields[11]) + int(fields[12])
        started += int(fields[13]) + int(fields[14])
    return own / _TICKS, started / _TICKS


def featurize(source: Path, output: Path, options: list[str]) -> tuple[float, float]:
    """Returns wall and CPU seconds of the command, and of what it has started itself."""
    shutil.rmtree(output, ignore_errors=True)
    arguments = ["--input", str(source), "--output", str(output), *options]
    wall, cpu, _, _ = run([PYTHON, "-m", "pipelines.featurize", *arguments])
    return wall, cpu


def measure(folder: Path, size: Size, sources: tuple[Path, Path], work: Path, times: Times, few: list[float]) -> None:
    """Starts a cluster of a size, warms it, measures a run of few clips and one of many, and stops it."""
    cluster = Cluster(folder)
    state = cluster.start(size)
    try:
        options = cluster.options(size)
        for _ in range(2):
            wall, _ = featurize(sources[0], work / "few", options)
        few.append(wall)
        before = cpu_seconds(state)
        wall, driver = featurize(sources[1], work / "many", options)
        own, workers = (after - earlier for after, earlier in zip(cpu_seconds(state), before, strict=True))
        times.add(wall, workers, driver + own)
    finally:
        cluster.stop()


def main() -> None:
    """Measures and prints."""
    parser = benchmark_parser(__doc__, clips=100_000, turns=3)
    parser.add_argument("--cluster", type=Path, default=Path(".cluster"), metavar="DIR", help="folder of the cluster")
    parser.add_argument("--port", type=int, default=8081, help="the first of its five ports")
    options = parser.parse_args()
    where, originals, work = machine(*PACKAGES), find_originals(options.data), options.output / "cluster"
    sources = tuple(made(options.output / f"clips-{count}", originals, count) for count in (FEW, options.clips))
    times, few = {1: Times(), 2: Times()}, {1: [], 2: []}
    for _ in range(options.turns):
        for count in times:
            size = Size("flink", count, 1, options.port)
            measure(options.cluster, size, sources, work, times[count], few[count])
    local = [featurize(sources[0], work / "few", ["--workers", "1"])[0] for _ in range(options.turns)]
    shutil.rmtree(work)
    print(f"{where}.\n\n| {options.clips:,} clips on Flink | one worker | two workers | ratio |\n|---|---|---|---|")
    rows = {
        "CPU µs a clip, workers": ([1e6 * value / options.clips for value in times[count].workers] for count in times),
        "CPU µs a clip, all": ([1e6 * value / options.clips for value in times[count].all] for count in times),
        "wall seconds": (times[count].wall for count in times),
    }
    for name, values in rows.items():
        one, two = values
        ratios = [second / first for first, second in zip(one, two, strict=True)]
        print(f"| {name} | {spread(one)} | {spread(two)} | {spread(ratios)} |")
    print(f"\n{FEW} clips: {spread(few[2], 1)} s on the warm cluster of two, {spread(local, 1)} s in one process.")


if __name__ == "__main__":
    main()
