"""Measures a trained network on clips, and on recordings that hold none of its classes: python -m model.evaluate."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
from typing import Any

from features.errors import UsageError
from features.io.filesystem import join
from features.runtime import command
from features.runtime.quantities import counted
from features.runtime.visible import name_column
from features.sources.partition import parse_partitions
from features.sources.paths import csv_path
from model.evaluation.evaluator import evaluate
from model.evaluation.false_alarms import count_false_alarms
from model.evaluation.review import measure_review
from model.inference.run_store import local_run
from model.scoring.plan import shortened_sentence

EXAMPLES = (
    "python -m model.evaluate --model RUN --features FEATURES --test-on testing",
    "python -m model.evaluate --model RUN --negatives RECORDINGS",
    "python -m model.evaluate --model RUN --review review.csv",
)


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser("Measures a trained network and shows what it gets wrong.", *EXAMPLES)
    result.add_argument("--model", required=True, metavar="RUN", help="run folder made by model.train")
    result.add_argument("--features", metavar="FEATURES", help="folder made by pipelines.featurize")
    result.add_argument("--test-on", default="testing", metavar="LIST", help="partitions, by commas (%(default)s)")
    result.add_argument(
        "--negatives", metavar="DIR|TABLE|FILE",
        help="recordings that hold none of the classes, to count false alarms in; --features may be left out then",
    )  # fmt: skip
    result.add_argument(
        "--review", metavar="FILE",
        help="labels that a person has judged on a page of model.report, its review.csv, to count the right ones of "
        "each class; --features may be left out then",
    )  # fmt: skip
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Evaluates and prints the figures."""
    if options.features is None and options.negatives is None and options.review is None:
        raise UsageError("--features, --negatives or --review is missing: what to measure on")
    figures: dict[str, Any] = {}
    tables, paragraphs = [], []
    with local_run(options.model) as run:
        if options.features is not None:
            figures = evaluate(run, options.features, parse_partitions(options.test_on))
            tables += _class_table(figures)
            paragraphs.append(_accuracy_paragraph(options.model, figures))
        if options.negatives is not None:
            alarms = count_false_alarms(run, options.negatives)
            tables += _alarms_table(alarms)
            paragraphs.append(_alarms_paragraph(options.model, alarms))
            figures = {**figures, "negatives": alarms}
        if options.review is not None:
            review = measure_review(run, options.review)
            tables += _review_table(review)
            paragraphs.append(_review_paragraph(review))
            figures = {**figures, "review": review}
    command.finish(options, [*tables, " ".join(paragraphs)], figures)
    return 0


def _class_table(metrics: dict[str, Any]) -> list[str]:
    """Returns the lines of a table of classes, in the order of the network's outputs."""
    head, *labels = name_column(["class", *metrics["classes"]])
    lines = [f"{head}  precision  recall     f1   clips"]
    for label, one in zip(labels, metrics["classes"].values(), strict=True):
        lines.append(f"{label}  {one['precision']:9.3f}  {one['recall']:6.3f}  {one['f1']:5.3f}  "
                     f"{one['clips']:6,}")  # fmt: skip
    return lines


def _alarms_table(alarms: dict[str, Any]) -> list[str]:
    head, *labels = name_column(["class", *alarms["classes"]])
    lines = [f"{head}  threshold  false alarms  an hour"]
    for label, one in zip(labels, alarms["classes"].values(), strict=True):
        threshold = "none" if one["threshold"] is None else f"{one['threshold']:.3f}"
        lines.append(f"{label}  {threshold:>9}  {one['alarms']:12,}  {one['alarms_per_hour']:7.1f}")
    return lines


def _review_table(review: dict[str, Any]) -> list[str]:
    head, *labels = name_column(["class", *review["classes"]])
    lines = [f"{head}  judged   right  precision  95 % interval"]
    for label, one in zip(labels, review["classes"].values(), strict=True):
        low, high = one["interval_95"]
        lines.append(
            f"{label}  {one['judged']:6,}  {one['right']:6,}  {one['precision']:9.3f}  {low:.3f} to {high:.3f}"
        )
    return lines


def _accuracy_paragraph(run: str, metrics: dict[str, Any]) -> str:
    paragraph = (
        f"Accuracy {metrics['accuracy']:.4f} on {', '.join(metrics['tested_on'])}: {metrics['correct']:,} of "
        f"{metrics['clips']:,} clips ({_intervals(metrics)}); macro recall "
        f"{metrics['macro_recall']:.4f}, loss {metrics['loss']:.4f}."
    )
    if "training" in metrics:
        paragraph += f" On the clips that it was trained on: {metrics['training']['accuracy']:.4f}."
    paragraph += _calibration(metrics)
    if "draw" in metrics:
        draw = metrics["draw"]
        paragraph += (
            f" Among the clips are {draw['unknown_clips']:,} of {draw['unknown_clips_of']:,} of _unknown_ and "
            f"{draw['silence_windows']:,} windows of _silence_."
        )
        if draw["left_out"]:
            names = ", ".join(f"{name} ({clips})" for name, clips in draw["left_out"].items())
            paragraph += f" Not used, as in training: {names}."
    if metrics["unknown_classes"]:
        names = ", ".join(f"{name} ({clips})" for name, clips in metrics["unknown_classes"].items())
        paragraph += f" Counted wrong, since the network lacks the class: {names}."
    folder = join(run, "evaluation", metrics["folder"])
    paragraph += f" Look at {folder}/examples.png, where the mistakes come first, confusion.png and reliability.png."
    return paragraph


def _alarms_paragraph(run: str, alarms: dict[str, Any]) -> str:
    paragraph = (
        f"{alarms['alarms']:,} false alarms in {alarms['hours']:.4g} hours of {alarms['recordings']:,} recordings: "
        f"{alarms['alarms_per_hour']:.4g} an hour, in {alarms['alarm_windows']:,} of {alarms['windows']:,} windows."
    )
    if alarms["rejected"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in alarms["rejects"].items())
        paragraph += f" {alarms['rejected']:,} recordings could not be used ({reasons})."
    paragraph += shortened_sentence(alarms["short_windows"], alarms["min_window_seconds"])
    if alarms["worst"]:
        worst = alarms["worst"][0]
        paragraph += f" The worst recording: {csv_path(worst['path'])}, {worst['alarms_per_hour']:.4g} an hour."
    return paragraph + f" Each is a line of {join(run, 'evaluation', alarms['folder'])}/alarms.csv."


def _review_paragraph(review: dict[str, Any]) -> str:
    paragraph = (
        f"{review['right']:,} of {review['judged']:,} labels are right that were judged, of "
        f"{counted(review['recordings'], 'recording')} ({review['review']}); the precision of a class is that of those."
    )
    return paragraph + (f" None was judged of {', '.join(review['not_judged'])}." if review["not_judged"] else "")


def _intervals(metrics: dict[str, Any]) -> str:
    (low, high), (group_low, group_high) = metrics["interval_95"], metrics["interval_95_by_group"]
    if metrics["groups"] == metrics["clips"]:
        return f"95 % interval {low:.4f} to {high:.4f}, by clip and by group, since each clip is a group of its own"
    quarter, _, three_quarters = metrics["groups_accuracy"]["quartiles"]
    return (
        f"95 % interval {low:.4f} to {high:.4f} if clips were independent, {group_low:.4f} to {group_high:.4f} by the "
        f"{metrics['groups']:,} groups, half of which are between {quarter:.4f} and {three_quarters:.4f}"
    )


def _calibration(metrics: dict[str, Any]) -> str:
    calibration, thresholds = metrics["calibration"], metrics["thresholds"]
    text = f" Calibration error {calibration['expected_calibration_error']:.4f}"
    if calibration["temperature"] != 1:
        text += f", without the temperature {calibration['expected_calibration_error_before']:.4f}"
    text += f" ({calibration['expected_calibration_error_by_chance']:.4f} by chance, if every probability were true)"
    if thresholds is None:
        return text + "."
    text += f". At the thresholds for a precision of {thresholds['target_precision']:g}, "
    text += f"{thresholds['labelled']:,} clips ({100 * thresholds['labelled_share']:.1f} %) get a label"
    if thresholds["labelled"]:
        text += f", which is right for {thresholds['precision']:.4f} of them"
    if thresholds["without_threshold"]:
        text += f"; none gets {', '.join(thresholds['without_threshold'])}"
    return text + "."


if __name__ == "__main__":
    command.run(main, parser())
