"""Measures featurize before its first shard and after its last, and with ten clips: python benchmarks/start.py.

Ten clips stand beside a bare import of the libraries that any such program loads. Of many clips it is seen from outside
when the first shard begins to be written, by the folder of shards, and when the last report was, by its time.
"""

import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from clips import benchmark_parser, find_originals, made
from measure import PYTHON, machine, spread

BARE = "import numpy, scipy.fft, pyarrow, pyarrow.parquet, pyarrow.compute"
FEW, FEW_TURNS = 10, 9
MANY, TURNS = 100_000, 3
_LOOK_SECONDS = 0.005
_HERE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Times:
    """What a run took, in seconds.

    Attributes:
        wall: from its start to its end.
        cpu: of all its processes.
        before: from its start until a shard begins to be written.
        after: from the time of the last report to its end.
    """

    wall: float
    cpu: float
    before: float = 0.0
    after: float = 0.0


def timed(command: list[str], tree: Path, output: Path | None = None) -> Times:
    """Runs a command with the code of a checkout.

    Args:
        command: which ends well.
        tree: the checkout.
        output: the feature set that it makes, removed after the run; None where it makes none.
    """
    began, used = time.time(), _children_cpu_seconds()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONPATH": str(tree)}, cwd=tree)  # fmt: skip
    first = began
    if output is not None:
        shards = output / "shards"
        while process.poll() is None and not (shards.is_dir() and any(shards.iterdir())):
            time.sleep(_LOOK_SECONDS)
        first = time.time()
    said = process.communicate()[1]
    ended = time.time()
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with exit code {process.returncode}:\n{said}")
    last = ended
    if output is not None:
        last = max(path.stat().st_mtime for path in (output / "reports").iterdir())
        shutil.rmtree(output)
    return Times(ended - began, _children_cpu_seconds() - used, first - began, ended - last)


def _children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def few(source: Path, output: Path, trees: dict[str, Path], turns: int) -> str:
    """Compares ten clips with the bare import, in turns."""
    bare: list[Times] = []
    runs: dict[str, list[Times]] = {name: [] for name in trees}
    for turn in range(turns):
        bare.append(timed([PYTHON, "-c", BARE], _HERE))
        for name, tree in trees.items():
            runs[name].append(timed(featurize(source, output), tree, output))
            print(f"turn {turn + 1}: {name}: {runs[name][-1].wall:.2f} s, the import {bare[-1].wall:.2f} s",
                  file=sys.stderr, flush=True)  # fmt: skip
    lines = [
        f"| {source.name} | seconds above the import | CPU seconds above it | seconds | CPU seconds |",
        "|---|---|---|---|---|",
        f"| bare import | | | {_of(bare, 'wall')} | {_of(bare, 'cpu')} |",
    ]
    for name, times in runs.items():
        above = [
            spread([getattr(one, kind) - getattr(other, kind) for one, other in zip(times, bare, strict=True)])
            for kind in ("wall", "cpu")
        ]
        lines.append(f"| {name} | {above[0]} | {above[1]} | {_of(times, 'wall')} | {_of(times, 'cpu')} |")
    return "\n".join(lines)


def many(source: Path, output: Path, trees: dict[str, Path], turns: int) -> str:
    """Times the ends of runs over many clips, in turns."""
    runs: dict[str, list[Times]] = {name: [] for name in trees}
    for turn in range(turns):
        for name, tree in trees.items():
            runs[name].append(timed(featurize(source, output), tree, output))
            one = runs[name][-1]
            print(f"turn {turn + 1}: {name}: {one.before:.2f} s before, {one.after:.2f} s after, {one.wall:.1f} s",
                  file=sys.stderr, flush=True)  # fmt: skip
    lines = [
        f"| {source.name} | before the first shard | after the last | together | seconds | CPU seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name, times in runs.items():
        together = spread([one.before + one.after for one in times])
        lines.append(f"| {name} | {_of(times, 'before')} | {_of(times, 'after')} | {together} | {_of(times, 'wall')} | "
                     f"{_of(times, 'cpu')} |")  # fmt: skip
    first, *others = runs.values()
    for name, times in zip(list(runs)[1:], others, strict=True):
        ratios = [
            spread([getattr(other, kind) / getattr(one, kind) for one, other in zip(first, times, strict=True)])
            for kind in ("wall", "cpu")
        ]
        lines.append(f"\n{name} takes {ratios[0]} times the time, {ratios[1]} times the CPU time.")
    return "\n".join(lines)


def featurize(source: Path, output: Path) -> list[str]:
    """Returns the command."""
    return [PYTHON, "-m", "pipelines.featurize", "--input", str(source), "--output", str(output), "--preset",
            "speech-commands"]  # fmt: skip


def _of(times: list[Times], kind: str) -> str:
    return spread([getattr(one, kind) for one in times])


def main() -> None:
    """Measures and prints."""
    parser = benchmark_parser(__doc__, clips=MANY, turns=TURNS)
    parser.add_argument("--few-turns", type=int, default=FEW_TURNS, help="how often ten clips are run (%(default)s)")
    parser.add_argument("--before", type=Path, metavar="TREE", help="another checkout, run in turns with this one")
    parser.add_argument("--source", type=Path, metavar="DIR", help="so many clips that benchmarks/clips.py has made")
    options = parser.parse_args()
    trees = {"this build": _HERE, **({"the other build": options.before.resolve()} if options.before else {})}
    where, originals = machine("numpy", "scipy", "pyarrow"), find_originals(options.data)
    options.output.mkdir(parents=True, exist_ok=True)
    output = options.output / "set"
    tables = []
    if options.few_turns:
        ten = made(options.output / f"clips-{FEW}", originals, FEW)
        tables.append(few(ten, output, trees, options.few_turns))
    if options.turns:
        source = options.source or made(options.output / f"clips-{options.clips}", originals, options.clips)
        tables.append(many(source, output, trees, options.turns))
    print(f"{where}, load {os.getloadavg()[0]:.1f} at the end; median (least to most) of {options.few_turns} and "
          f"{options.turns} turns.\n")  # fmt: skip
    print(*tables, sep="\n\n")


if __name__ == "__main__":
    main()
