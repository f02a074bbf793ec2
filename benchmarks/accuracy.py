"""Trains each network on each set of real recordings and prints the table of accuracies: python benchmarks/accuracy.py.

Every step is a command as a user gives it. Runs that are there already are taken as they are, so that an interrupted
benchmark resumes. Each set is tested as its makers say: Speech Commands by its lists, the spoken digits by their table,
ESC-10 by its five folds, each tested once by a network trained on the four others.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clips import benchmark_parser

from model.evaluation.metrics import wilson_interval


@dataclass(frozen=True)
class Recordings:
    """A set of recordings and how it is tested.

    Attributes:
        source: options of featurize, paths relative to the folder of all recordings.
        tests: for each training, the options that divide it.
        small: whether it has a few hundred clips.
    """

    source: tuple[str, ...]
    tests: tuple[tuple[str, ...], ...]
    small: bool = False


FOLDS = [f"fold-{number}" for number in range(1, 6)]
RECORDINGS = {
    "speech_commands_8words": Recordings(("--input", "speech_commands_8words"), (("--test-on", "testing"),)),
    "fsdd": Recordings(("--input", "fsdd/fsdd.csv", "--label-column", "digit"), (("--test-on", "testing"),)),
    "esc10": Recordings(
        ("--input", "esc10/esc10.csv", "--root", "esc10/audio", "--path-column", "filename",
         "--label-column", "category", "--group-column", "src_file"),
        tuple(
            ("--train-on", ",".join(fold for fold in FOLDS if fold != tested), "--test-on", tested) for tested in FOLDS
        ),
        small=True,
    ),
}  # fmt: skip
BC_RESNETS = ("bc-resnet-1", "bc-resnet-1.5", "bc-resnet-2", "bc-resnet-3", "bc-resnet-6", "bc-resnet-8")
ON_LOG_MEL = (*BC_RESNETS, "ds-tc-resnet", "residual")
PRESETS = {
    "mlp": "urbansound-mfcc",
    "tutorial-cnn": "speech-commands",
    "raw-cnn": "speech-commands",
    **dict.fromkeys(ON_LOG_MEL, "log-mel-40"),
}
SETTINGS = {
    "mlp": ("--epochs", "100", "--batch-size", "32", "--patience", "0"),
    "tutorial-cnn": ("--epochs", "10"),
    "raw-cnn": ("--epochs", "10", "--batch-size", "16"),
    **dict.fromkeys(ON_LOG_MEL, ()),
}
# On the few clips of a small set an epoch is short and its validation uncertain: more epochs, more patience.
SMALL_SETTINGS = {
    "mlp": SETTINGS["mlp"],
    "tutorial-cnn": ("--epochs", "60", "--batch-size", "16", "--patience", "10"),
    "raw-cnn": ("--epochs", "20", "--batch-size", "16", "--patience", "5"),
    **dict.fromkeys(ON_LOG_MEL, ("--epochs", "150", "--batch-size", "32")),
}
SEEDS = (0, 1, 2)


def command(module: str, *arguments: object) -> None:
    """Runs a command of soundmill; its messages go to standard error."""
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True, stdout=sys.stderr)


def features_of(data: Path, output: Path, name: str, preset: str) -> Path:
    """Computes the features of a set, or finds them."""
    folder = output / "features" / f"{name}-{preset}"
    source = list(RECORDINGS[name].source)
    for place, option in enumerate(source):
        if option in ("--input", "--root"):
            source[place + 1] = str(data / source[place + 1])
    if not (folder / "manifest.json").exists():
        command("pipelines.featurize", *source, "--output", folder, "--preset", preset)
    return folder


def trainings(data: Path, output: Path, name: str, network: str, seed: int) -> list[dict[str, Any]]:
    """Trains a network on a set with one seed, a training per test, and returns the figures of each."""
    features = features_of(data, output, name, PRESETS[network])
    settings = (SMALL_SETTINGS if RECORDINGS[name].small else SETTINGS)[network]
    results = []
    for number, test in enumerate(RECORDINGS[name].tests):
        run = output / "runs" / f"{name}-{network}-{seed}-{number}"
        summary = run.with_suffix(".json")
        run.parent.mkdir(parents=True, exist_ok=True)
        if not summary.exists():
            command("model.train", "--features", features, "--output", run, "--network", network, "--seed", seed,
                    "--summary", summary, "--resume", *settings, *test)  # fmt: skip
            for checkpoint in (run / "checkpoints").glob("*/*"):
                checkpoint.unlink()  # a third of a gigabyte each with raw-cnn
        results.append(json.loads(summary.read_text(encoding="utf-8")))
    return results


def row(name: str, network: str, by_seed: list[list[dict[str, Any]]]) -> str:
    """Returns a line of the table."""
    clips = sum(result["testing_clips"] for result in by_seed[0])

    def correct(results: list[dict[str, Any]], figure: str) -> int:
        return round(sum(result[figure] * result["testing_clips"] for result in results))

    found = sorted(correct(results, "testing_accuracy") for results in by_seed)
    middle = statistics.median_low(found)
    low, high = wilson_interval(middle, clips)
    before = statistics.median(correct(results, "testing_accuracy_before") / clips for results in by_seed)
    trained = statistics.median(
        statistics.fmean(result["training_accuracy"] for result in results) for results in by_seed
    )
    seconds = statistics.median(sum(result["training_seconds"] for result in results) for results in by_seed)
    seeds = ", ".join(f"{correct(results, 'testing_accuracy') / clips:.4f}" for results in by_seed)
    return (
        f"| {name} | {network} | {PRESETS[network]} | {before:.4f} | {seeds} | **{middle / clips:.4f}** | {clips:,} | "
        f"{low:.4f} to {high:.4f} | {trained:.4f} | {seconds:,.0f} |"
    )


def main() -> None:
    """Trains and prints."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--recordings", nargs="*", choices=RECORDINGS, default=list(RECORDINGS))
    parser.add_argument("--networks", nargs="*", choices=PRESETS, default=list(PRESETS))
    options = parser.parse_args()
    started = time.monotonic()
    lines = []
    for network in options.networks:
        for name in options.recordings:
            by_seed = [trainings(options.data, options.output, name, network, seed) for seed in SEEDS]
            lines.append(row(name, network, by_seed))
            print(lines[-1], file=sys.stderr, flush=True)
    print(f"Accuracy on testing clips, {os.cpu_count()} cores, Python {platform.python_version()}; the median of "
          f"{len(SEEDS)} seeds with its 95 % interval (Wilson).\n")  # fmt: skip
    print("| recordings | network | preset | untrained | seeds 0, 1, 2 | median | clips | interval | training clips | "
          "training seconds |\n|---|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    print("\n".join(lines))
    print(f"\n{time.monotonic() - started:,.0f} s in all.")


if __name__ == "__main__":
    main()
