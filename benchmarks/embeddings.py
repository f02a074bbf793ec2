"""Measures heads on the embeddings of BirdNET, and networks from nothing: python benchmarks/embeddings.py.

ESC-10 by its five folds, with several windows a clip, where the front end of a fold is also chosen by the four others;
and few clips a class of spoken words and digits, drawn several times, tested on speakers that no clip was learnt from.
Every step is a command as a user gives it. What is finished is taken as it is, so that the command may be given again.
"""

import argparse
import csv
import functools
import json
import math
import random
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accuracy import RECORDINGS, command, once, with_places
from birdnet import PRESET, Fields, add_network_file, write_spec
from clips import WORDS, benchmark_parser
from measure import machine

from features.errors import UsageError
from features.sources.partition import TESTING, VALIDATION

PACKAGES = ("numpy", "scipy", "tensorflow", "keras", "ai-edge-litert")
FOLDS = tuple(f"fold-{number}" for number in range(1, 6))
CHOOSER = "linear"
# Specs of ESC-10, whose clips are of five seconds; a window has three.
SPECS: dict[str, Fields] = {
    "two windows, mean": {"clip_seconds": 5.0, "hop_samples": 144_000},
    "three windows, mean": {"clip_seconds": 5.0, "hop_samples": 48_000},
    "three windows, max": {"clip_seconds": 5.0, "hop_samples": 48_000, "pool": "max"},
}
SIZES = (10, 20, 50)
# Of the digits: the speakers, each tested in one draw, and how many clips of each and of a digit are used.
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
DIGIT_CLIPS = 20
# Front ends and settings of what learns from few clips; a network from nothing keeps its last weights.
LEARNERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "linear": (PRESET, ()),
    "mlp": (PRESET, ("--epochs", "100", "--batch-size", "32", "--patience", "0", "--validate-on", "none")),
    "residual": ("log-mel-40", ("--batch-size", "32", "--validate-on", "none")),
}
# Partitions of few clips: to learn from, to test on, and what only other draws use.
LEARNT, TESTED, OTHERS = FOLDS[:3]
# Two-sided 95 % of Student's distribution, by degrees of freedom.
T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571}


def esc10(options: argparse.Namespace) -> str:
    """Returns the tables of ESC-10: each front end and head on the five folds, and what the other folds choose."""
    lines, by_spec = [], {}
    for number, (name, fields) in enumerate(SPECS.items()):
        folder = options.output / "esc10" / str(number)
        features = folder / "features"
        spec = write_spec(folder / "spec.toml", fields, options.network_file)
        source = with_places(RECORDINGS["esc10"].source, options.data)
        made = once(folder / "featurize.json", "pipelines.featurize", *source, "--spec", spec, "--output", features)
        for head in (one for one in options.learners if LEARNERS[one][0] == PRESET):
            settings = ("--features", features, "--network", head, *LEARNERS[head][1])
            figures = once(folder / f"{head}.json", "model.crossvalidate", *settings, "--output", folder / head)
            cells = [name, head, f"**{figures['mean_accuracy']:.4f}** (folds ± {figures['standard_deviation']:.4f})",
                     f"{figures['correct']} of {figures['clips']}", interval(figures["interval_95"]),
                     interval(figures["interval_95_by_group"]), f"{made['seconds']:.0f}",
                     f"{figures['seconds'] / len(FOLDS):.1f}"]  # fmt: skip
            lines.append(cells)
        by_spec[name] = folder
    chosen = [choose(fold, by_spec) for fold in FOLDS]
    header = ["windows", "head", "mean of five folds", "correct", "95 % interval by clip", "by group",
              "seconds of featurize", "seconds a fold"]  # fmt: skip
    accuracies = [accuracy for _, accuracy in chosen]
    names = ", ".join(f"{fold}: {name}" for fold, (name, _) in zip(FOLDS, chosen, strict=True))
    middle, deviation = statistics.mean(accuracies), statistics.stdev(accuracies)
    return (f"{markdown(header, lines)}\n\nThe windows chosen for each fold by the loss of `{CHOOSER}` on inner folds "
            f"of the four others: **{middle:.4f}** (folds ± {deviation:.4f}; {names}).")  # fmt: skip


def choose(fold: str, by_spec: dict[str, Path]) -> tuple[str, float]:
    """Returns the spec whose training for a fold has the least loss on its inner folds, and its accuracy on the fold.

    Inner folds are of the clips of the four others: so no spec is chosen by what it is then measured on.
    """
    losses = {}
    for name, folder in by_spec.items():
        with open(folder / CHOOSER / fold / "history.csv", encoding="utf-8", newline="") as file:
            losses[name] = min(float(row["val_loss"]) for row in csv.DictReader(file))
    best = min(losses, key=losses.__getitem__)
    figures = json.loads((by_spec[best] / f"{CHOOSER}.json").read_text(encoding="utf-8"))
    return best, next(one["accuracy"] for one in figures["folds"] if one["fold"] == fold)


@dataclass(frozen=True)
class Draw:
    """Few clips to learn from, and others to test on.

    Attributes:
        name: of the recordings.
        size: clips a class.
        number: of the draw, from 0.
    """

    name: str
    size: int
    number: int

    def rows(self, data: Path, draws: int) -> list[tuple[str, str, str, str]]:
        """Returns path, label, group and partition of what is drawn, of what is tested, and of what other draws take.

        The last are in the set so that features are computed once for all draws.
        """
        clips = CLIPS[self.name](data)
        here, others = self._drawn(clips), set()
        for draw in (Draw(self.name, max(SIZES), number) for number in range(draws)):
            others |= draw._drawn(clips) | {clip.path for clip in clips if draw._is_tested(clip)}
        found = []
        for clip in clips:
            if self._is_tested(clip):
                found.append((clip.path, clip.label, clip.speaker, TESTED))
            elif clip.path in here:
                found.append((clip.path, clip.label, clip.speaker, LEARNT))
            elif clip.path in others:
                found.append((clip.path, clip.label, clip.speaker, OTHERS))
        return found

    def _drawn(self, clips: list["Spoken"]) -> set[str]:
        """Returns the paths of the clips to learn from; a smaller size takes some of those of a larger."""
        pools = defaultdict(list)
        for clip in clips:
            if not self._is_tested(clip):
                pools[clip.label].append(clip.path)
        most = {label: random.Random(f"{label} {self.number}").sample(sorted(paths), max(SIZES))
                for label, paths in pools.items()}  # fmt: skip
        return {path for paths in most.values() for path in paths[: self.size]}

    def _is_tested(self, clip: "Spoken") -> bool:
        """The testing list of Speech Commands; of the digits the clips of one speaker, another one in each draw."""
        return clip.is_testing if clip.is_testing is not None else clip.speaker == SPEAKERS[self.number]


@dataclass(frozen=True)
class Spoken:
    """A clip of speech; `path` below the folder of all recordings, `is_testing` where that is known beforehand.

    The lists of Speech Commands count more than a table whose paths begin beside them.
    """

    path: str
    label: str
    speaker: str
    is_testing: bool | None = None


@functools.cache
def words(data: Path) -> list[Spoken]:
    """Returns the clips of eight words but those of the validation list: no speaker is in two of its lists."""
    testing, validation = (
        {*(data / WORDS / f"{name}_list.txt").read_text(encoding="utf-8").split()} for name in (TESTING, VALIDATION)
    )
    paths = sorted(path.relative_to(data / WORDS).as_posix() for path in (data / WORDS).glob("[!_]*/*.wav"))
    return [
        Spoken(f"{WORDS}/{path}", *path.replace("_", "/").split("/")[:2], path in testing)
        for path in paths
        if path not in validation
    ]


@functools.cache
def digits(data: Path) -> list[Spoken]:
    """Returns the first clips of each speaker and digit."""
    with open(data / "fsdd" / "fsdd.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["index"]) < DIGIT_CLIPS]
    return [Spoken(f"fsdd/{row['path']}", row["digit"], row["speaker"]) for row in rows]


CLIPS = {WORDS: words, "fsdd": digits}


def few_clips(options: argparse.Namespace) -> str:
    """Returns the table of few clips a class: the mean of the draws, with the interval that they give."""
    found: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for name in CLIPS:
        for front_end in sorted({LEARNERS[learner][0] for learner in options.learners}):
            for number in range(options.draws):
                for size in SIZES:
                    _few(options, Draw(name, size, number), front_end, found)
    lines = []
    for (name, learner, size), figures in sorted(found.items()):
        accuracies = [one["accuracy"] for one in figures]
        lines.append([name, learner, LEARNERS[learner][0], str(size), mean_of(accuracies),
                      f"{min(accuracies):.4f} to {max(accuracies):.4f}", str(len(accuracies)),
                      f"{statistics.median(one['trained_seconds'] for one in figures):.1f}"])  # fmt: skip
    header = ["recordings", "network", "front end", "clips a class", "accuracy, mean and 95 % interval",
              "least to most", "draws", "seconds of training"]  # fmt: skip
    return markdown(header, lines)


def _few(options: argparse.Namespace, draw: Draw, front_end: str, found: dict[Any, list[dict[str, Any]]]) -> None:
    """Learns and tests one draw; of the features only partitions change from one draw to the next."""
    folder = options.output / "few" / f"{draw.name}-{front_end}"
    learners = [one for one in options.learners if LEARNERS[one][0] == front_end]
    runs = {one: folder / f"{draw.size}-{draw.number}-{one}" for one in learners}
    folder.mkdir(parents=True, exist_ok=True)
    if not all(run.with_suffix(".json").exists() for run in runs.values()):
        table = folder / "clips.csv"
        rows = draw.rows(options.data, options.draws)
        with open(table, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("path", "label", "group", "partition"), *rows])
        network = ("--network-file", options.network_file) if front_end == PRESET else ()
        command("pipelines.featurize", "--input", table, "--root", options.data, "--preset", front_end,
                *network, "--output", folder / "features")  # fmt: skip
    for learner, run in runs.items():
        settings = ("--network", learner, *LEARNERS[learner][1], "--train-on", LEARNT)
        trained = once(run.with_suffix(".trained.json"), "model.train", "--features", folder / "features", *settings,
                       "--output", run)  # fmt: skip
        tested = once(run.with_suffix(".json"), "model.evaluate", "--model", run, "--features", folder / "features",
                      "--test-on", TESTED)  # fmt: skip
        found[draw.name, learner, draw.size].append({**tested, "trained_seconds": trained["seconds"]})


def mean_of(values: list[float]) -> str:
    """Returns the mean of draws with its interval by Student's distribution."""
    if len(values) < 2:
        return f"**{values[0]:.4f}**"
    half = T_95[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values))
    middle = statistics.mean(values)
    return f"**{middle:.4f}** ({middle - half:.4f} to {middle + half:.4f})"


def interval(bounds: list[float]) -> str:
    """Returns an interval as text."""
    return f"{bounds[0]:.4f} to {bounds[1]:.4f}"


def markdown(header: list[str], lines: list[list[str]]) -> str:
    """Returns a table."""
    rows = [f"| {' | '.join(cells)} |" for cells in (header, *lines)]
    return "\n".join([rows[0], f"{'|---' * len(header)}|", *rows[1:]])


def main() -> None:
    """Trains and prints."""
    parser = benchmark_parser(__doc__)
    add_network_file(parser)
    parser.add_argument("--steps", default="esc10,few", help="some of %(default)s")
    parser.add_argument(
        "--learners",
        nargs="+",
        choices=LEARNERS,
        default=list(LEARNERS),
        help="networks (all); of ESC-10 those on embeddings",
    )
    parser.add_argument("--draws", type=int, default=5, choices=range(1, len(SPEAKERS) + 1), help="of few clips (5)")
    options = parser.parse_args()
    steps = {"esc10": esc10, "few": few_clips}
    unknown = [step for step in options.steps.split(",") if step not in steps]
    if unknown:
        raise UsageError(f"--steps is a comma list of {', '.join(steps)}, not {unknown[0]}")
    where = machine(*PACKAGES)
    print(f"{where}.\n")
    for step in options.steps.split(","):
        print(steps[step](options), end="\n\n", flush=True)
    print("Draws of one size share what they are tested on, of Speech Commands; of the digits each leaves out another "
          "speaker.", file=sys.stderr)  # fmt: skip


if __name__ == "__main__":
    main()
