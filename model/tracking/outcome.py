"""What is shown of a training that has ended: its validation in figures, pictures and sounds."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from features.io.csv_text import csv_label, csv_lines
from features.pictures.examples import source_waveform
from features.runtime.log import LOG
from features.sources.paths import csv_path
from model.evaluation.evaluation_folder import EXAMPLES_TITLE, choose_examples, load_examples, write_confusion
from model.evaluation.predictions import Predictions, measure, predict_rows
from model.evaluation.tested_rows import TestedRows
from model.evaluation.validated_rows import validated_rows
from model.inference.artifact import FOLDER
from model.inference.executor import load_executor
from model.pages.clip_cards import why_silent
from model.pages.sound import WAV, encode_sound
from model.pages.tested_clips import clips_table
from model.pictures.example_pictures import Example, ExampleGrid, draw_examples
from model.tracking.tracker import Confusion, Media, Outcome, Parameter

_NOT_VALIDATED = "Nothing was validated on clips of its own: there are no confusion matrix and no examples."
_OF_CLASSES = ("precision", "recall", "f1")


@dataclass
class _Shown:
    """What is collected for an `Outcome`; see there."""

    figures: dict[str, Parameter] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    pictures: list[Media] = field(default_factory=list)
    sounds: list[Media] = field(default_factory=list)
    confusion: Confusion | None = None


def show_outcome(run: Path, features: str, figures: dict[str, Any], folder: Path) -> Outcome:
    """Collects what is shown of a run.

    Args:
        run: the run folder, with its artifact.
        features: the set that it was trained on.
        figures: of the training.
        folder: empty, for the files of pictures and sounds.

    Raises:
        SoundmillError: the run or the set cannot be read.
        OSError: nothing can be written.
    """
    shown = _Shown(scalars(figures, "run."))  # else `loss` would be one more point of that curve
    shown.pictures.append(Media("curves", "loss and accuracy by epoch", run / "curves.png"))
    tested = validated_rows(str(run), features)
    if tested is None:
        LOG.info("%s", _NOT_VALIDATED)
        shown.texts["validation.txt"] = _NOT_VALIDATED
    else:
        _show_validation(shown, run, tested, folder)
    return Outcome(shown.figures, shown.texts, shown.pictures, shown.sounds, shown.confusion, run / FOLDER)


def scalars(content: dict[str, Any], prefix: str = "") -> dict[str, Parameter]:
    """Returns what nested dictionaries hold as scalars by names with dots; lists as texts, without what is None."""
    result: dict[str, Parameter] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            result |= scalars(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            result[prefix + name] = ", ".join(map(str, value))
        elif value is not None:
            result[prefix + name] = value
    return result


def _show_validation(shown: _Shown, run: Path, tested: TestedRows, folder: Path) -> None:
    rows, classes = tested.rows, tested.rows.classes
    predictions = predict_rows(load_executor(str(run)), rows)
    metrics = measure(predictions, classes)
    write_confusion(folder, metrics)
    shown.texts["confusion.csv"] = (folder / "confusion.csv").read_text(encoding="utf-8")
    shown.confusion = Confusion(list(metrics["classes"]), metrics["confusion"])
    accuracy = f"accuracy {metrics['accuracy']:.4f} on {metrics['clips']:,} clips validated on"
    shown.pictures.append(Media("confusion", accuracy, folder / "confusion.png"))
    shown.figures |= {f"validation.{name}": metrics[name] for name in ("accuracy", "loss", "macro_recall", "clips")}
    for label, scores in metrics["classes"].items():
        shown.figures |= {f"validation.{name}/{label}": scores[name] for name in _OF_CLASSES}
    chosen = choose_examples(predictions, classes)
    examples = load_examples(predictions, rows, chosen)
    draw_examples(examples, rows.manifest.spec, EXAMPLES_TITLE, folder / "examples.png")
    shown.pictures.append(Media("examples", EXAMPLES_TITLE, folder / "examples.png"))
    _show_examples(shown, examples, _clips(tested, predictions, chosen), tested, folder)


def _clips(tested: TestedRows, predictions: Predictions, chosen: list[int]) -> list[dict[str, Any]]:
    clips: list[dict[str, Any]] = clips_table(tested, predictions).take(chosen).to_pylist()
    return clips


def _show_examples(
    shown: _Shown, examples: list[Example], clips: list[dict[str, Any]], tested: TestedRows, folder: Path
) -> None:
    """Adds each example as a picture and as a sound, and a line that says which have none."""
    manifest = tested.rows.manifest
    rate_hz = manifest.spec.sample_rate_hz
    lines, silent = [("example", "true", "predicted", "probability", "path", "sound")], 0
    for number, (example, clip) in enumerate(zip(examples, clips, strict=True), start=1):
        name = f"example-{number:02d}"
        verdict = "right" if example.true == example.predicted else "wrong"
        caption = f"{verdict}: {example.true} → {example.predicted} ({example.probability:.2f}), {example.path}"
        shown.pictures.append(Media(name, caption, folder / f"{name}.png"))
        waveform = None if clip["shard"] is None else source_waveform(clip, manifest)
        why = why_silent(clip, waveform, manifest.spec)
        if why is None and waveform is not None:
            sound = folder / f"{name}.wav"
            sound.write_bytes(encode_sound(waveform, rate_hz, (WAV,)).content)
            shown.sounds.append(Media(name, caption, sound))
        else:
            silent += 1
        probability = f"{example.probability:.6f}"
        labels = csv_label(example.true), csv_label(example.predicted)
        lines.append((name, *labels, probability, csv_path(example.path), why or f"{name}.wav"))
    ExampleGrid.of(examples).cut(folder / "examples.png", [one.path for one in shown.pictures[-len(examples) :]])
    if silent:
        LOG.info("%d of %d examples have a picture alone: %s", silent, len(examples),
                 " ".join(sorted({line[-1] for line in lines[1:] if not line[-1].endswith(".wav")})))  # fmt: skip
    shown.texts["examples.csv"] = csv_lines(lines)
