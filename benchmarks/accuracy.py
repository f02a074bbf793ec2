"""Trains each network on each set of real recordings and prints the table of results: python benchmarks/accuracy.py.

Every step is a command as a user gives it. What is finished is taken as it is, and what was interrupted goes on, so
that the command may be given again, with more networks or seeds too. Each set is tested as its makers say: Speech
Commands by its lists, the spoken digits by their table, ESC-10 by its five folds; the digits once more by leaving out a
speaker at a time. Each fold is tested by a network trained on the others.
"""

import csv
import functools
import json
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clips import benchmark_parser
from measure import machine

import soundmill
from features.io.atomic import write_file
from features.runtime.processes import python_command, python_environment
from features.store.manifest import load_manifest
from model.inference.artifact import has_artifact
from model.networks.registry import NETWORKS
from model.training.recipes import recipe
from model.training.run_folder import read_config
from model.training.section import option, shown
from model.training.settings import Given, Settings

PACKAGES = ("numpy", "tensorflow", "keras")


@dataclass(frozen=True)
class Recordings:
    """A set of recordings and how it is tested.

    Attributes:
        source: options of featurize, paths relative to the folder of all recordings.
        folds: options of crossvalidate where folds are tested; None where there is a partition for that, testing.
        front_end: a name in FRONT_ENDS, for the networks on frames; None where each has its preset.
        is_small: whether it has a few hundred clips.
    """

    source: tuple[str, ...]
    folds: tuple[str, ...] | None = None
    front_end: str | None = None
    is_small: bool = False


FRONT_ENDS: Mapping[str, Mapping[str, Any]] = {
    # All of a clip of ESC-10, with the high frequencies that tell its sounds apart: (125, 64).
    "five-seconds": {
        "preset": "log-mel",
        "sample_rate_hz": 32000,
        "clip_seconds": 5.0,
        "window_samples": 2048,
        "hop_samples": 1280,
        "fft_samples": 2048,
        "mel_bands": 64,
        "mel_low_hz": 40.0,
        "mel_high_hz": 16000.0,
    },
}
_DIGITS = ("--input", "fsdd/fsdd.csv", "--label-column", "digit")
RECORDINGS = {
    "speech_commands_8words": Recordings(("--input", "speech_commands_8words")),
    "fsdd": Recordings(_DIGITS),
    "fsdd-speakers": Recordings((*_DIGITS, "--group-column", "speaker"), folds=("--splits", "groups")),
    "esc10": Recordings(
        ("--input", "esc10/esc10.csv", "--root", "esc10/audio", "--path-column", "filename",
         "--label-column", "category", "--group-column", "src_file"),
        folds=(),
        front_end="five-seconds",
        is_small=True,
    ),
}  # fmt: skip
BC_RESNETS = ("bc-resnet-1", "bc-resnet-1.5", "bc-resnet-2", "bc-resnet-3", "bc-resnet-6", "bc-resnet-8")
ON_LOG_MEL = (*BC_RESNETS, "ds-tc-resnet", "residual")
PRESETS = {
    "linear": "urbansound-mfcc",
    "mlp": "urbansound-mfcc",
    "tutorial-cnn": "speech-commands",
    "raw-cnn": "speech-commands",
    **dict.fromkeys(ON_LOG_MEL, "log-mel-40"),
}
# What differs from the recipe of the network.
SETTINGS: Mapping[str, Given] = {
    "linear": {},
    "mlp": {"epochs": 100, "batch_size": 32, "patience": 0},
    "tutorial-cnn": {},
    "raw-cnn": {"batch_size": 16},
    **{name: {} for name in ON_LOG_MEL},
}
# On the few clips of a small set an epoch is short and validation says little: more epochs, more patience or none.
_SMALL: Given = {
    "epochs": 120, "batch_size": 32, "time_shift_seconds": 1.0, "time_mask_seconds": 0.5, "validate_on": ()
}  # fmt: skip
SMALL_SETTINGS: Mapping[str, Given] = {
    "linear": {},
    "mlp": SETTINGS["mlp"],
    "tutorial-cnn": {"epochs": 60, "batch_size": 16, "patience": 10},
    "raw-cnn": {"epochs": 20, "batch_size": 16, "patience": 5},
    **{name: _SMALL for name in ON_LOG_MEL},
}


@dataclass(frozen=True)
class Entry:
    """A network on a set of recordings: a line of the table.

    Attributes:
        name: of the recordings.
        network: by its name.
    """

    name: str
    network: str

    @property
    def recordings(self) -> Recordings:
        """The recordings."""
        return RECORDINGS[self.name]

    @property
    def front_end(self) -> str:
        """Name of the preset, or of one of FRONT_ENDS."""
        own = self.recordings.front_end if NETWORKS[self.network].needs_frames else None
        return own or PRESETS[self.network]

    @property
    def settings(self) -> Given:
        """What differs from the recipe of the network."""
        return (SMALL_SETTINGS if self.recordings.is_small else SETTINGS)[self.network]


def as_options(settings: Given) -> list[str]:
    """Returns settings as they are given on the command line."""
    return [text for name, value in settings.items() for text in (option(name), shown(value))]


def command(module: str, *arguments: object) -> None:
    """Runs a command of soundmill; its messages go to standard error."""
    subprocess.run(python_command(module, *arguments), env=python_environment(), check=True, stdout=sys.stderr)


def once(summary: Path, module: str, *arguments: object) -> dict[str, Any]:
    """Returns the figures of a command, which is run where they are not there yet."""
    if not summary.exists():
        command(module, *arguments, "--summary", summary)
    figures: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
    return figures


def counted(costs: Path, begun: bool, module: str, *arguments: object) -> None:
    """Runs a command and adds its CPU seconds and its seconds to a file, those of a command that is interrupted too.

    Args:
        costs: the file: a list of pairs, null for what did not come to be counted, since this process was killed.
        begun: whether the work was begun before there was the file.
        module: of the command.
        arguments: of the command.
    """
    attempts = json.loads(costs.read_text(encoding="utf-8")) if costs.exists() else [None] * begun
    write_file(costs, json.dumps([*attempts, None]))
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    try:
        command(module, *arguments)
    finally:
        after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - started
        cpu_seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        write_file(costs, json.dumps([*attempts, [cpu_seconds, seconds]]))


def with_places(source: tuple[str, ...], data: Path) -> list[str]:
    """Returns the options of featurize with the folder of all recordings before their paths."""
    before = ("", *source)
    return [str(data / word) if before[place] in ("--input", "--root") else word for place, word in enumerate(source)]


@functools.cache
def features_of(data: Path, output: Path, name: str, front_end: str) -> Path:
    """Computes the features of a set; those that are there and fit it are found, and others refused."""
    folder = output / "features" / f"{name}-{front_end}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    source = with_places(RECORDINGS[name].source, data)
    chosen = ["--preset", front_end]
    if front_end in FRONT_ENDS:
        spec = folder.with_name(f"{folder.name}.toml")
        lines = [f"{field} = {json.dumps(value)}\n" for field, value in FRONT_ENDS[front_end].items()]
        write_file(spec, "".join(lines))
        chosen = ["--spec", str(spec)]
    command("pipelines.featurize", *source, *chosen, "--output", folder)
    return folder


def train(entry: Entry, features: Path, folder: Path, seed: int) -> tuple[Path, Path]:
    """Trains where that is not done yet.

    Returns:
        What has been trained, a run or the folder of a cross-validation; and the run, of a cross-validation the first.
    """
    settings = ["--features", features, "--network", entry.network, "--seed", seed, *as_options(entry.settings)]
    folder.mkdir(parents=True, exist_ok=True)
    if entry.recordings.folds is None:
        trained = run = folder / "run"
        if not has_artifact(run):
            counted(folder / "costs.json", run.exists(), "model.train", *settings, "--output", run, "--resume")
    else:
        trained, run = folder / "folds", folder / "folds" / "fold-1"
        if not (trained / "crossvalidation.json").exists():
            counted(folder / "costs.json", trained.exists(), "model.crossvalidate", *settings, "--output", trained,
                    *entry.recordings.folds)  # fmt: skip
    for checkpoint in trained.glob("**/checkpoints/*/*"):
        checkpoint.unlink()  # a third of a gigabyte each with raw-cnn
    return trained, run


def check(entry: Entry, run: Path, seed: int) -> None:
    """Ends the benchmark where a finished run has other settings than the table would say."""

    def compared(settings: Settings) -> dict[str, Any]:
        # Rows follow from the test, and a recipe's noise is left out where the recordings have none.
        changed = replace(settings.augmentation, noise_probability=0.0)
        return replace(settings, rows=Settings().rows, augmentation=changed).flat()

    config = read_config(run)
    if config is None:
        sys.exit(f"{run} is empty; remove {run.parent}")
    found = compared(config["settings"])
    for name, value in compared(recipe(entry.network).with_given({**entry.settings, "seed": seed})).items():
        if found.get(name) != value:
            sys.exit(f"{run} was trained with {option(name)} {shown(found[name])}, not {shown(value)}; remove the "
                     "folder that it is in, or give another --output")  # fmt: skip


def score(features: Path, run: Path, folder: Path) -> float:
    """Returns how many clips a second one process labels, of all clips of a set, from its files to the CSV."""
    paths = sorted(set(soundmill.open_features(features).clips()["path"].to_pylist()))
    table = folder / "clips.csv"
    with open(table, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["path"], *([path] for path in paths)])
    root = load_manifest(features).source["root"]
    figures = once(folder / "score.json", "pipelines.score", "--model", run, "--input", table, "--root", root,
                   "--output", folder / "labels.csv", "--overwrite", "--workers", 1)  # fmt: skip
    return float(figures["clips_per_second"])


def result(entry: Entry, features: Path, folder: Path, seed: int) -> dict[str, Any]:
    """Trains, tests and scores with one seed, and returns the figures of that."""
    trained, run = train(entry, features, folder, seed)
    check(entry, run, seed)
    if entry.recordings.folds is None:
        figures = once(folder / "evaluation.json", "model.evaluate", "--model", run, "--features", features)
    else:
        figures = json.loads((trained / "crossvalidation.json").read_text(encoding="utf-8"))
    table = (run / "layers.txt").read_text(encoding="utf-8")
    size = re.search(r"([\d,]+) parameters, ([\d,]+) multiply-adds a clip", table)
    costs = folder / "costs.json"
    attempts = json.loads(costs.read_text(encoding="utf-8")) if costs.exists() else [None]
    return {
        **{name: figures[name] for name in ("accuracy", "correct", "clips", "interval_95", "interval_95_by_group")},
        "deviation": figures.get("standard_deviation"),
        "size": size.groups() if size else ("?", "?"),
        "minutes": None if None in attempts else [sum(seconds) / 60 for seconds in zip(*attempts, strict=True)],
        "clips_per_second": score(features, run, folder),
    }


def row(entry: Entry, results: list[dict[str, Any]], letter: str) -> str:
    """Returns a line of the table from the results of all seeds; `letter` names the settings below the table."""
    middle = sorted(results, key=lambda one: one["correct"])[(len(results) - 1) // 2]
    accuracy = f"**{middle['accuracy']:.4f}**"
    if middle["deviation"] is not None:
        accuracy += f" (folds ± {middle['deviation']:.4f})"
    intervals = [f"{low:.4f} to {high:.4f}" for low, high in (middle["interval_95"], middle["interval_95_by_group"])]
    known = [one["minutes"] for one in results if one["minutes"]]
    minutes = [f"{statistics.median(each):.1f}" for each in zip(*known, strict=True)] or ["?", "?"]
    if known and len(known) < len(results):
        minutes = [f"{text} ({len(known)} of {len(results)} seeds)" for text in minutes]
    cells = [
        entry.name,
        entry.network,
        entry.front_end,
        letter,
        ", ".join(f"{one['accuracy']:.4f}" for one in results),
        accuracy,
        f"{middle['clips']:,}",
        *intervals,
        *middle["size"],
        *minutes,
        f"{statistics.median(one['clips_per_second'] for one in results):,.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Trains and prints."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--recordings", nargs="+", choices=RECORDINGS, default=list(RECORDINGS), help="(all)")
    parser.add_argument("--networks", nargs="+", choices=PRESETS, default=list(PRESETS), help="(all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="(0 1 2)")
    options = parser.parse_args()
    where = machine(*PACKAGES)
    lines, legend, used = [], {"": "recipe"}, set()
    for network in options.networks:
        for name in options.recordings:
            entry = Entry(name, network)
            used.add(entry.front_end)
            features = features_of(options.data, options.output, name, entry.front_end)
            results = [
                result(entry, features, options.output / "runs" / f"{name}-{network}-{seed}", seed)
                for seed in options.seeds
            ]
            settings = " ".join(as_options(entry.settings))
            lines.append(row(entry, results, legend.setdefault(settings, chr(ord("a") + len(legend) - 1))))
            print(lines[-1], file=sys.stderr, flush=True)
    header = ["recordings", "network", "front end", "settings", f"seeds {', '.join(map(str, options.seeds))}", "median",
              "clips", "95 % interval by clip", "by group", "parameters", "multiply-adds a clip",
              "training, CPU minutes", "minutes", "clips/s in score"]  # fmt: skip
    print(f"{where}.\n\n| {' | '.join(header)} |\n{'|---' * len(header)}|")
    print("\n".join(lines))
    print("\nAccuracy is that on clips never trained on, and the intervals are those of the seed in the middle; all "
          "other figures are medians of the seeds. Training is one command for one seed, with all its folds; scoring "
          "is one process, from all files of a set to the CSV.\n")  # fmt: skip
    print("- recipe: the settings of the network where none are given")
    print("".join(f"- {letter}: these, but `{settings}`\n" for settings, letter in legend.items() if settings), end="")
    for front_end in sorted(used & set(FRONT_ENDS)):
        fields = FRONT_ENDS[front_end].items()
        print(f"- {front_end}: {', '.join(f'{field} {value}' for field, value in fields)}")


if __name__ == "__main__":
    main()
