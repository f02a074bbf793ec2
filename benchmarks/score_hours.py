"""Measures scoring of short clips and hours of sound: python benchmarks/score_hours.py.

The folder holds clips of a second at 16 kHz and recordings of an hour at 48 kHz. Whole commands run in turns: soundmill
score, the same of other checkouts (`--build`), and a bare loop with the same decoding, front end and executor. A window
is a second, so that windows a second are hours of sound an hour, the rate in times real time.
"""

import os
import shutil
from pathlib import Path

from accuracy import PRESETS
from clips import WORDS, benchmark_parser, find_originals, made, made_hours
from measure import PYTHON, Contender, alternate, machine, peer, run, table

from model.networks.registry import NETWORKS

PACKAGES = ("numpy", "soxr", "apache-beam", "ai-edge-litert", "openvino")
HERE = Path(__file__).parents[1]


def main() -> None:
    """Measures and prints."""
    parser = benchmark_parser(__doc__, clips=20_000, turns=3)
    parser.add_argument("--hours", type=int, default=10, help="recordings of an hour (%(default)s)")
    parser.add_argument("--network", choices=NETWORKS, default="residual", help="(%(default)s)")
    parser.add_argument("--build", type=Path, action="append", default=[], metavar="DIR",
                        help="another checkout, whose score is run too; may be given again")  # fmt: skip
    options = parser.parse_args()
    where, output = machine(*PACKAGES), options.output
    originals, source = find_originals(options.data), output / "clips-and-hours"
    made(source / f"clips-{options.clips}", originals, options.clips)
    made_hours(source / f"hours-{options.hours}", originals, options.hours)
    work = output / "score-hours"
    shutil.rmtree(work, ignore_errors=True)
    network, features = work / "run", work / "features"
    run([PYTHON, "-m", "pipelines.featurize", "--input", str(options.data / WORDS), "--output", str(features),
         "--preset", PRESETS[options.network]])  # fmt: skip
    run([PYTHON, "-m", "model.train", "--features", str(features), "--output", str(network), "--epochs", "1",
         "--network", options.network])  # fmt: skip
    windows = options.clips + 3600 * options.hours

    def scoring(build: Path, number: int) -> Contender:
        labels = work / f"labels-{number}.csv"
        command = ["env", f"PYTHONPATH={build}", PYTHON, "-m", "pipelines.score", "--model", str(network), "--input",
                   str(source), "--output", str(labels), "--overwrite"]  # fmt: skip
        return Contender("soundmill score" if build == HERE else f"score of {build.name}", command, windows)

    contenders = [scoring(build.absolute(), number) for number, build in enumerate((HERE, *options.build))]
    bare = Contender("bare loop", peer("bare-score", source, work / "bare"), windows, work / "bare")
    contenders.append(bare)
    os.chdir(work)  # `-m` looks into the current folder first
    alternate(contenders, options.turns)
    outputs = {(work / f"labels-{number}.csv").read_bytes() for number in range(1 + len(options.build))}
    print(f"{options.network}. {where}.\n\n{table(contenders, [*contenders[1:-1], bare])}\n")
    print(f"All builds write {'the same' if len(outputs) == 1 else 'DIFFERENT'} bytes.")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
