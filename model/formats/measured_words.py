"""What evaluations of a run measured, in words and tables of Markdown."""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from typing import Any

from features.errors import SoundmillError
from features.io.filesystem import place
from features.runtime.invocation import command_line
from features.runtime.markdown import markdown_table, markdown_text
from features.runtime.quantities import counted
from features.sources.paths import escape_path
from features.store.clips_table import clips_batches
from features.store.manifest import load_manifest
from model.inference.artifact_description import ArtifactDescription

_SHOWN_CLASSES = 100
_SHOWN_CONFUSIONS = 10
_NOT_KNOWN = "\N{EN DASH}"
Evaluation = dict[str, Any]
"""The content of an evaluation's metrics.json."""


def folder_name(path: str | None) -> str:
    """Returns the name of a folder alone: where it lies concerns nobody whom a card is for."""
    return escape_path(os.fsencode(os.path.basename((path or "").rstrip("/"))))


def class_rows(description: ArtifactDescription, evaluation: Evaluation | None) -> list[str]:
    """Returns the table of the classes with their thresholds and what was measured of each."""
    thresholds, classes = description.calibration.thresholds or {}, description.classes
    header, rows = ["class", "threshold"], []
    if evaluation:
        header += ["precision", "recall", "clips tested"]
    for label in classes[:_SHOWN_CLASSES]:
        row = [markdown_text(label), _number(thresholds.get(label))]
        if evaluation:
            scores = evaluation["classes"][label]
            row += [_number(scores["precision"]), _number(scores["recall"]), f"{scores['clips']:,}"]
        rows.append(row)
    more = len(classes) - len(rows)
    rest = [f"And {counted(more, 'class', 'classes')} more, which stand in the file.", ""] if more else []
    return [markdown_table(header, rows), "", *rest]


def measured_words(description: ArtifactDescription, evaluations: Sequence[Evaluation], others: int) -> list[str]:
    """Returns what was measured of a network, a paragraph for each evaluation.

    Args:
        description: of the network.
        evaluations: of this very network.
        others: how many evaluations the run has of an earlier one.
    """
    if not evaluations:
        why = "what the run has are evaluations of another network" if others else "the run has no evaluation"
        command = f"{command_line('model.evaluate')} --model RUN --features FEATURES"
        return [f"Not measured: {why}. `{command}` measures it; export it again after that.", ""]
    lines = []
    for one in evaluations:
        low, high = one["interval_95"]
        tested, features = markdown_text("+".join(one["tested_on"])), markdown_text(folder_name(one["features"]))
        words = (
            f"**Accuracy {one['accuracy']:.4f}** on {tested} of {features}: {one['correct']:,} of "
            f"{counted(one['clips'], 'clip')}; 95 % interval {low:.4f} to {high:.4f} if clips were independent"
        )
        if one["groups"] != one["clips"]:
            low, high = one["interval_95_by_group"]
            words += f", {low:.4f} to {high:.4f} by the {counted(one['groups'], 'group')}"
        words += f". Macro recall {one['macro_recall']:.4f}, loss {one['loss']:.4f}. {_heard_words(description, one)}"
        if "training" in one:
            words += f" On the clips that it was trained on the accuracy is {one['training']['accuracy']:.4f}."
        error = one["calibration"]["expected_calibration_error"]
        lines += [f"{words} Expected calibration error {error:.4f}.", ""]
    return lines


def _heard_words(description: ArtifactDescription, evaluation: Evaluation) -> str:
    """Returns whether the network was trained on clips that were tested, or on others of their groups."""
    seen = evaluation["clips_trained_on"]
    if seen is None:
        return "Whether it was trained on some of these clips is not known."
    if seen:
        return f"**Of these clips it was trained on {seen:,}**, by their contents."
    words = "By their contents it was trained on none of these clips"
    shared = _shared_groups(description, evaluation)
    if shared is not None:
        words += f", and on {'none' if shared == 0 else f'others of {shared:,}'} of their groups"
    return f"{words}."


def _shared_groups(description: ArtifactDescription, evaluation: Evaluation) -> int | None:
    """Returns how many groups of tested clips are in partitions trained on; None where the set has gone or changed."""
    if "@" in evaluation["folder"]:
        return None
    with contextlib.suppress(SoundmillError, OSError, ValueError, TypeError):
        folder = place(evaluation["features"])
        manifest = load_manifest(folder)
        if hashlib.sha256(manifest.to_json().encode()).hexdigest() == evaluation["manifest_sha256"]:
            groups: dict[str, set[str]] = {}
            for clips in clips_batches(manifest.layout(folder), manifest, ["group", "partition"]):
                for row in clips.group_by(["partition", "group"]).aggregate([]).to_pylist():
                    groups.setdefault(row["partition"], set()).add(row["group"])
            tested, trained = (set().union(*(groups.get(name, set()) for name in names))
                               for names in (evaluation["tested_on"], description.trained_on))  # fmt: skip
            return len(tested & trained)
    return None


def mistake_rows(evaluation: Evaluation) -> list[str]:
    """Returns the table of the pairs of classes that were taken for each other most."""
    labels = list(evaluation["classes"])
    pairs = [
        (count, true, given)
        for true, counts in zip(labels, evaluation["confusion"], strict=True)
        for given, count in zip(labels, counts, strict=True)
        if count and true != given
    ]
    if not pairs:
        return ["No clip got a wrong label.", ""]
    rows = [
        [markdown_text(true), markdown_text(given), f"{count:,} of {evaluation['classes'][true]['clips']:,}"]
        for count, true, given in sorted(pairs, key=lambda pair: -pair[0])[:_SHOWN_CONFUSIONS]
    ]
    return [markdown_table(["true class", "label given", "clips"], rows), ""]


def _number(value: float | None) -> str:
    return _NOT_KNOWN if value is None else f"{value:.4f}"
