"""Measures a training against plain Keras and prints a table of ratios: python benchmarks/training.py.

Both train the default network on the same clips of Speech Commands with the batch size of its recipe, as whole
processes in turns, and validate each epoch. `soundmill` is all of `model.train`: shards, augmentation with noise,
checkpoints, history. `keras` is `fit` of that network in float32 with all features in memory as one array, never
changed. The first epoch is left out: graphs are made in it, and files read.

    python benchmarks/training.py --output DIR --variants xla batch-200 bfloat16+batch-200 soundmill+bfloat16

measures other ways beside them, made of the parts in PARTS.
"""

import argparse
import shutil
from pathlib import Path

from clips import WORDS, benchmark_parser
from measure import PYTHON, Contender, alternate, machine, run, table

from features.errors import UsageError
from features.store.manifest import load_manifest
from model.training.precision import FLOAT32, MIXED_BFLOAT16, check_precision

PACKAGES = ("numpy", "tensorflow", "keras")
FIT = Path(__file__).with_name("fit.py")
EPOCHS = 2  # that are measured
OURS, PLAIN = "soundmill", "keras"
PARTS = {
    OURS: (),
    "xla": ("--xla",),
    "bfloat16": ("--precision", MIXED_BFLOAT16),
    "onednn": ("--onednn",),
    "fused": ("--fused",),
    "lanes": ("--lanes",),
    **{f"batch-{number}": ("--batch-size", str(number)) for number in (50, 100, 200)},
    **{f"threads-{number}": ("--threads", str(number)) for number in (1, 2)},
}
# Parts of one of these groups exclude each other.
TOGETHER = (
    ("lanes", "threads-1", "threads-2"),
    ("batch-50", "batch-100", "batch-200"),
    (OURS, "xla"),
    (OURS, "lanes"),
    (OURS, "onednn"),
    (OURS, "fused"),
)


def variant(text: str) -> str:
    """Reads a way of training, parts joined by `+`."""
    parts = text.split("+")
    for part in parts:
        if part not in PARTS:
            raise argparse.ArgumentTypeError(f"no part {part!r}; there are {', '.join(PARTS)}")
    for group in TOGETHER:
        both = [part for part in parts if part in group]
        if len(both) > 1:
            raise argparse.ArgumentTypeError(f"{both[0]} and {both[1]} do not go together")
    if "bfloat16" in parts:
        try:
            check_precision(MIXED_BFLOAT16)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
    return text


def contender(name: str, features: Path, clips: int) -> Contender:
    """Returns the process that trains in a way."""
    parts = name.split("+")
    way = OURS if OURS in parts else PLAIN
    trained = features.with_name(f"run-{name}")
    command = [PYTHON, str(FIT), way, str(features), str(trained), "--epochs", str(1 + EPOCHS)]
    command += [word for part in parts if part != PLAIN for word in PARTS[part]]
    if way == PLAIN and "bfloat16" not in parts:
        command += ["--precision", FLOAT32]
    title = name if name == PLAIN else f"{way}, {', '.join(part for part in parts if part != OURS)}".removesuffix(", ")
    return Contender(title, command, clips * EPOCHS, trained, reported=True)


def main() -> None:
    """Measures and prints."""
    parser = benchmark_parser(__doc__, clips=6_000, turns=3)
    parser.add_argument(
        "--variants", nargs="*", type=variant, default=[], metavar="PART[+PART]",
        help=f"other ways of training, made of {', '.join(PARTS)} (none)",
    )  # fmt: skip
    options = parser.parse_args()
    where, work = machine(*PACKAGES), options.output / "training"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    features = work / "features"
    run([PYTHON, "-m", "pipelines.featurize", "--input", str(options.data / WORDS), "--output", str(features),
         "--limit", str(options.clips)])  # fmt: skip
    clips = load_manifest(features).rows(["training"])
    contenders = [contender(name, features, clips) for name in dict.fromkeys((PLAIN, OURS, *options.variants))]
    alternate(contenders, options.turns)
    print(f"{where}.\n\n{table(contenders, contenders[:1])}")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
