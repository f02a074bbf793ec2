"""The whole flow on clips that it makes itself: python -m pipelines.demo."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
import itertools
import json
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

from features.errors import RunError, UsageError
from features.io.local_copy import check_local
from features.runtime import command
from features.runtime.processes import python_command, python_environment
from features.runtime.visible import print_lines
from model.inference.artifact import read_description

EXAMPLE = "python -m pipelines.demo --output demo/"
PAGE = "report.html"
_CSV_LINES = 9
# Few epochs, as the words are easily told apart: the learning rate still falls to 0 at the last one. The warm-up of
# the network's recipe is for more of them.
_SETTINGS = ("--epochs", 6, "--warmup-epochs", 1)


def demo(output: Path, clips: int, seed: int) -> dict[str, Any]:
    """Runs each command of the flow in a process of its own, as a user would, and shows what it prints.

    Args:
        output: new folder for all that comes of it.
        clips: number of spoken words to make for training, validation and testing.
        seed: of the words and of the training.

    Returns:
        The figures of the run.

    Raises:
        UsageError: the folder is not empty.
        RunError: a command failed.
    """
    if output.exists() and any(output.iterdir()):
        raise UsageError(f"{output} is not empty; give another --output, or remove it")
    started = time.monotonic()
    words, features, run, labels = output / "words", output / "features", output / "run", output / "labels.csv"
    _step("Make spoken words", "pipelines.speech.spoken_words", "--output", words, "--clips", clips, "--seed", seed)
    _step("Compute features", "pipelines.featurize", "--input", words / "labelled", "--output", features)
    _step("Train", "model.train", "--features", features, "--output", run, *_SETTINGS, "--seed", seed)
    _step("Evaluate on voices never trained on", "model.evaluate", "--model", run, "--features", features)
    _step("Label clips never seen", "pipelines.score", "--model", run, "--input", words / "unseen", "--output", labels)
    _step("Make the page of the model", "model.report", run, "--features", features, "--output", output / PAGE)
    metrics = json.loads((run / "evaluation" / "testing" / "metrics.json").read_text(encoding="utf-8"))
    return {
        "seconds": time.monotonic() - started,
        "network": read_description(run).network_name,
        "accuracy": metrics["accuracy"],
        "clips": metrics["clips"],
    }


def _step(title: str, module: str, *arguments: object) -> None:
    shown = shlex.join(["python", "-m", module, *map(str, arguments)])
    print_lines(["", f"== {title}", f"$ {shown}"])
    code = subprocess.run(python_command(module, *arguments), env=python_environment(), check=False).returncode
    if code:
        raise RunError(f"the step {module} ended with exit code {code}")


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser(
        "Shows the whole flow on spoken words that it makes with eSpeak NG: features, training, evaluation on voices "
        "never trained on, a labelled CSV. It needs the extra soundmill[demo], and no network.",
        EXAMPLE,
    )
    result.add_argument("--output", required=True, metavar="DIR", help="new folder for all that it makes")
    result.add_argument("--clips", type=int, default=5600, help="spoken words to make (%(default)s)")
    result.add_argument("--seed", type=int, default=0, help="of words and training (%(default)s)")
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Runs the demo and prints what came of it."""
    check_local("--output", options.output)
    output = Path(options.output)
    figures = demo(output, options.clips, options.seed)
    labels, run = output / "labels.csv", output / "run"
    with open(labels, encoding="utf-8") as file:
        head = [line.rstrip("\n") for line in itertools.islice(file, _CSV_LINES)]
    evaluation = run / "evaluation" / "testing"
    pictures = [run / "curves.png", evaluation / "confusion.png", evaluation / "examples.png"]
    lines = [
        "",
        f"== Done in {figures['seconds']:.0f} s",
        f"Accuracy of the network {figures['network']} on {figures['clips']:,} clips of voices never trained on: "
        f"{figures['accuracy']:.4f}",
        "",
        f"The first lines of {labels}:",
        *head,
        "",
        "Pictures:",
        *(f"  {picture}" for picture in pictures),
        "",
        "The page to see and hear it all, which any browser opens:",
        f"  {output / PAGE}",
    ]
    command.finish(options, lines, figures)
    return 0


if __name__ == "__main__":
    command.run(main, parser())
