"""Measures a trained network on a partition that it was not trained on: python -m model.evaluate."""

import argparse

from features.runtime import command
from features.runtime.log import LOG
from features.sources.partition import parse_partitions
from model.evaluation.evaluation_folder import folder_of
from model.evaluation.evaluator import evaluate

EXAMPLE = "python -m model.evaluate --model RUN --features FEATURES --test-on testing"


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser("Measures a trained network and shows what it gets wrong.", EXAMPLE)
    result.add_argument("--model", required=True, metavar="RUN", help="run folder made by model.train")
    result.add_argument("--features", required=True, metavar="FEATURES", help="folder made by pipelines.featurize")
    result.add_argument("--test-on", default="testing", metavar="LIST", help="partitions, by commas (%(default)s)")
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Evaluates and prints the figures."""
    test_on = parse_partitions(options.test_on)
    metrics = evaluate(options.model, options.features, test_on)
    for label, scores in metrics["classes"].items():
        LOG.info(
            "%-20s precision %.3f  recall %.3f  f1 %.3f  %6d clips",
            label, scores["precision"], scores["recall"], scores["f1"], scores["clips"],
        )  # fmt: skip
    low, high = metrics["interval_95"]
    paragraph = (
        f"Accuracy {metrics['accuracy']:.4f} on {', '.join(test_on)}: {metrics['correct']:,} of {metrics['clips']:,} "
        f"clips (95 % interval {low:.4f} to {high:.4f}); macro recall {metrics['macro_recall']:.4f}, loss "
        f"{metrics['loss']:.4f}."
    )
    if "training" in metrics:
        paragraph += f" On the clips that it was trained on: {metrics['training']['accuracy']:.4f}."
    if metrics["unknown_classes"]:
        names = ", ".join(f"{name} ({clips})" for name, clips in metrics["unknown_classes"].items())
        paragraph += f" Counted wrong, since the network lacks the class: {names}."
    folder = folder_of(options.model, test_on)
    paragraph += f" Look at {folder}/examples.png, where the mistakes come first, and confusion.png."
    command.finish(options, paragraph, metrics)
    return 0


if __name__ == "__main__":
    command.run(main, parser())
