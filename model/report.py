"""Writes the page of a trained network or of labels, to see, to hear and to correct: python -m model.report."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
import os
from typing import Any

from features.errors import UsageError
from features.runtime import command
from features.runtime.quantities import counted, size_text
from features.sources.partition import parse_partitions
from model.pages.document import check_page

EXAMPLES = (
    "python -m model.report RUN --output report.html",
    "python -m model.report RUN --compare RUN2 --output report.html",
    "python -m model.report LABELS.csv --input RECORDINGS --output report.html",
)
# How the names of tables of labels end.
_LABELS = (".csv", ".parquet", ".jsonl")
# What only the page of a run takes.
_OF_RUNS = ("features", "test_on", "compare", "mistakes")


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser(
        "Writes a page of HTML: to see and to hear what a network gets wrong, or what was found in recordings.",
        *EXAMPLES,
    )
    result.add_argument(
        "of", metavar="RUN|LABELS",
        help="run folder made by model.train, folder of model.crossvalidate, or table made by pipelines.score "
        f"({' '.join(_LABELS)})",
    )  # fmt: skip
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
    result.add_argument("--mistakes", type=int, metavar="N", help="how many mistakes can be seen and heard (500)")
    result.add_argument(
        "--input", metavar="DIR|FILE|TABLE", help="of labels: what was scored (as the manifest beside the labels says)"
    )
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Writes the page and says what it shows."""
    check_page("--output", options.output)
    is_labels = options.of.lower().endswith(_LABELS) and not os.path.isdir(options.of)
    for name in _OF_RUNS if is_labels else ("input",):
        if getattr(options, name) is not None:
            goes_with, kind = ("a run", "a table of labels") if is_labels else ("a table of labels", "none")
            raise UsageError(f"--{name.replace('_', '-')} goes with {goes_with}, and {options.of} is {kind}")
    if is_labels:
        from model.pages.score_page import write_score_page

        figures = write_score_page(options.of, options.input, options.output)
        paragraph = _of_labels(options.output, figures)
    else:
        figures = _write_model_page(options)
        paragraph = _of_run(figures)
    command.finish(options, paragraph, figures)
    return 0


def _write_model_page(options: argparse.Namespace) -> dict[str, Any]:
    from model.pages.clip_cards import MOST_MISTAKES
    from model.pages.model_page import write_model_page

    mistakes = MOST_MISTAKES if options.mistakes is None else options.mistakes
    if mistakes < 0:
        raise UsageError(f"--mistakes is a number of clips, not {mistakes}")
    test_on = parse_partitions(options.test_on) if options.test_on else None
    return write_model_page(options.of, options.features, options.output, test_on, options.compare, mistakes)


def _of_labels(output: str, figures: dict[str, Any]) -> str:
    text = (
        f"{counted(figures['events'], 'event')} of {counted(figures['labels'], 'label')} in "
        f"{counted(figures['lines'], 'line')} of {counted(figures['files'], 'recording')}. {output}, "
        f"{size_text(figures['bytes'])}, has the time lines of {counted(figures['timelines'], 'recording')}, "
        f"{figures['timelines_heard_whole']:,} with all their sound, and {figures['cards_heard']:,} windows to "
        "check by ear"
    )
    if figures["cards"] > figures["cards_heard"]:
        text += f" ({figures['cards'] - figures['cards_heard']:,} more whose recordings are not there or have changed)"
    return f"{text}. Open it in a browser; model.evaluate --review takes the review.csv that it gives."


def _of_run(figures: dict[str, Any]) -> str:
    low, high = figures["interval_95_by_group"]
    shown, mistakes = figures["shown"], figures["mistakes"]
    text = (
        f"Accuracy {figures['accuracy']:.4f} on {', '.join(figures['tested_on'])}: {figures['correct']:,} of "
        f"{counted(figures['clips'], 'clip')} (95 % interval by group {low:.4f} to {high:.4f}). {figures['output']}, "
        f"{size_text(figures['bytes'])}, has {shown['mistakes']:,} of {counted(mistakes, 'mistake')} to see and to hear"
    )
    if mistakes > shown["mistakes"]:
        text += ", those whose labels are the least probable"
    text += f", and {counted(shown['clips'] - shown['mistakes'], 'other clip')}."
    if silent := shown["clips"] - shown["heard"]:
        text += f" {counted(silent, 'clip')} of these cannot be heard; the page says of each why."
    if "comparison" in figures:
        compared = figures["comparison"]
        text += (
            f" On {counted(compared['clips'], 'clip')} of both, {compared['runs'][1]} alone is right about "
            f"{compared['won']:,}, {compared['runs'][0]} alone about {compared['lost']:,}."
        )
    return f"{text} Open it in a browser; featurize --corrections takes the review.csv that it gives."


if __name__ == "__main__":
    command.run(main, parser())
