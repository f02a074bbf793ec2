"""Measures the memory of the three commands for clips and ten times as many: python benchmarks/memory.py.

It is the most that a command and all its processes hold at an instant, what they share counted once (PSS).
"""

import shutil
from pathlib import Path

from clips import benchmark_parser, find_originals, made
from measure import PYTHON, machine, run

PACKAGES = ("numpy", "pyarrow", "apache-beam", "tensorflow", "keras")
TIMES = 10


def peaks(source: Path, work: Path, network: Path) -> dict[str, int]:
    """Returns the peak of each command in bytes; `network` labels, and is trained here where it is not there yet."""
    features, labels, trained = work / "features", work / "labels.csv", work / "run"
    commands = {
        "featurize": ["pipelines.featurize", "--input", source, "--output", features],
        "train, one epoch": ["model.train", "--features", features, "--output", trained, "--epochs", "1"],
        "score": ["pipelines.score", "--model", network, "--input", source, "--output", labels],
    }
    work.mkdir(parents=True)
    found = {name: run([PYTHON, "-m", *map(str, command)])[2] for name, command in commands.items()}
    if network.parent != work:
        shutil.rmtree(work)
    return found


def main() -> None:
    """Measures and prints."""
    options = benchmark_parser(__doc__, clips=100_000).parse_args()  # the larger number
    where, originals, work = machine(*PACKAGES), find_originals(options.data), options.output / "memory"
    shutil.rmtree(work, ignore_errors=True)
    counts = options.clips // TIMES, options.clips
    network = work / str(counts[0]) / "run"
    few, many = (
        peaks(made(options.output / f"clips-{count}", originals, count), work / str(count), network) for count in counts
    )
    shutil.rmtree(work)
    print(f"{where}.\n\n| peak memory | {counts[0]:,} clips | {counts[1]:,} clips | ratio |\n|---|---|---|---|")
    for name in few:
        print(f"| {name} | {few[name] / 2**20:,.0f} MiB | {many[name] / 2**20:,.0f} MiB | "
              f"{many[name] / few[name]:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
