"""Keeps a run's network in int8 beside itself: python -m model.quantize."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse

from features.runtime import command
from features.runtime.invocation import command_line
from features.sources.partition import parse_partitions
from model.evaluation.quantization import quantize_run
from model.inference.run_store import local_run

EXAMPLE = "python -m model.quantize --model RUN --features FEATURES"


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser("Keeps a run's network in int8 beside itself, and measures both.", EXAMPLE)
    result.add_argument("--model", required=True, metavar="RUN", help="run folder made by model.train")
    result.add_argument("--features", required=True, metavar="FEATURES", help="the set that it was trained on")
    result.add_argument("--test-on", default="testing", metavar="LIST", help="partitions, by commas (%(default)s)")
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Quantizes and prints how right both networks are."""
    with local_run(options.model) as run:
        figures = quantize_run(run, options.features, parse_partitions(options.test_on))
    lines = ["network  executor    MB  accuracy  95 % by group    same label"]
    for executor, found in figures["executors"].items():
        for name, size in (("float32", figures["bytes_float32"]), ("int8", figures["bytes"])):
            low, high = found[name]["interval_95_by_group"]
            same = f"{found['same_label']:.4f}" if name == "int8" else ""
            lines.append(f"{name:7}  {executor:8}  {size / 1e6:4.1f}  {found[name]['accuracy']:8.4f}  {low:.4f} to "
                         f"{high:.4f}  {same:>9}".rstrip())  # fmt: skip
    score = command_line("pipelines.score", "--model", options.model, "--network-precision", "int8")
    paragraph = (
        f"{options.model} has an int8 network besides, made and measured on {figures['clips']:,} clips of "
        f"{', '.join(figures['tested_on'])} in {figures['seconds']:.1f} s. Score with it: {score} --input RECORDINGS "
        "--output labels.csv"
    )
    command.finish(options, [*lines, paragraph], figures)
    return 0


if __name__ == "__main__":
    command.run(main, parser())
