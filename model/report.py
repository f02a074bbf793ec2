"""Writes the page of a trained network, to see and to hear what it gets wrong: python -m model.report."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
from typing import Any

from features.errors import UsageError
from features.runtime import command
from features.runtime.quantities import counted, size_text
from features.sources.partition import parse_partitions
from model.pages.document import check_page

EXAMPLES = (
    "python -m model.report RUN --output report.html",
    "python -m model.report RUN --compare RUN2 --output report.html",
)


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser("Writes a page of HTML, to see and to hear what a network gets wrong.", *EXAMPLES)
    result.add_argument("run", metavar="RUN", help="run folder made by model.train, or folder of model.crossvalidate")
    result.add_argument("--output", required=True, metavar="PAGE.html", help="the page; replaced if there")
    result.add_argument(
        "--features", metavar="FEATURES",
        help="folder made by pipelines.featurize (the one that the run was trained on)",
    )  # fmt: skip
    result.add_argument(
        "--test-on", metavar="LIST",
        help="partitions, by commas (what the run was tested on, else testing; of a cross-validation each fold)",
    )  # fmt: skip
    result.add_argument(
        "--compare", metavar="RUN", help="another run on the same clips: what it wins and what it loses"
    )
    result.add_argument(
        "--mistakes", type=int, metavar="N", help="how many mistakes can be seen and heard, the surest first (500)"
    )
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Writes the page and says what it shows."""
    check_page("--output", options.output)
    from model.pages.clip_cards import MOST_MISTAKES
    from model.pages.model_page import write_model_page

    mistakes = MOST_MISTAKES if options.mistakes is None else options.mistakes
    if mistakes < 0:
        raise UsageError(f"--mistakes is a number of clips, not {mistakes}")
    test_on = parse_partitions(options.test_on) if options.test_on else None
    figures = write_model_page(options.run, options.features, options.output, test_on, options.compare, mistakes)
    command.finish(options, _paragraph(figures), figures)
    return 0


def _paragraph(figures: dict[str, Any]) -> str:
    low, high = figures["interval_95_by_group"]
    shown, mistakes = figures["shown"], figures["mistakes"]
    text = (
        f"Accuracy {figures['accuracy']:.4f} on {', '.join(figures['tested_on'])}: {figures['correct']:,} of "
        f"{counted(figures['clips'], 'clip')} (95 % interval by group {low:.4f} to {high:.4f}). {figures['output']}, "
        f"{size_text(figures['bytes'])}, has {shown['mistakes']:,} of {counted(mistakes, 'mistake')} to see and to hear"
    )
    if mistakes > shown["mistakes"]:
        text += ", the surest ones"
    text += f", and {counted(shown['clips'] - shown['mistakes'], 'other clip')}."
    if "comparison" in figures:
        compared = figures["comparison"]
        text += (
            f" On {counted(compared['clips'], 'clip')} of both, {compared['runs'][1]} alone is right about "
            f"{compared['won']:,}, {compared['runs'][0]} alone about {compared['lost']:,}."
        )
    return f"{text} Open it in a browser; featurize --corrections takes the review.csv that it gives."


if __name__ == "__main__":
    command.run(main, parser())
