"""The card of an export, README.md: what is in it, how good it is and how it is run, as Hugging Face reads cards."""

import contextlib
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from features.io.atomic import write_file
from features.runtime.markdown import front_matter, markdown_text
from features.runtime.quantities import counted, size_text
from model.formats.export_format import FORMATS, SAVED_MODEL
from model.formats.front_end_words import clip_words, front_end_words
from model.formats.measured_words import Evaluation, class_rows, folder_name, measured_words, mistake_rows
from model.formats.run_it import run_it
from model.formats.web.page import PAGE, runtime
from model.inference.artifact import read_description
from model.inference.artifact_description import ArtifactDescription

CARD = "README.md"
# Of each format: the library that Hugging Face's hub is to show, and what wrote the export and ran it.
_LIBRARIES = {"saved_model": "tensorflow", "litert": "litert", "litert-int8": "litert", "onnx": "onnx"}
_PACKAGES = {
    "saved_model": ("tensorflow", "keras"),
    "litert": ("tensorflow", "keras", "ai-edge-litert"),
    "litert-int8": ("tensorflow", "keras", "ai-edge-quantizer", "ai-edge-litert"),
    "onnx": ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime"),
}


def write_model_card(folder: Path, run: Path, figures: dict[str, Any]) -> None:
    """Writes README.md: a head in YAML for Hugging Face's hub, and what was measured, in words and tables.

    It says nothing that the run and the export do not know: where there is no evaluation of this very network it names
    the command, and of licences it says that they are the user's to add. It holds no path but the names of folders.

    Args:
        folder: of the export.
        run: the run folder.
        figures: of the export, as `model.formats.exporter.export` returns them.

    Raises:
        UsageError: the run has no usable model.
    """
    description = read_description(str(run))
    record = _json(run / "config.json")
    evaluations = [_json(path) for path in sorted((run / "evaluation").glob("*/metrics.json"))]
    of_this = [one for one in evaluations if one.get("network") == description.network_sha256]
    # Tables are of the first one: that on clips that the network was not trained on, where there is one.
    of_this.sort(key=lambda one: (bool(one["clips_trained_on"]), one["clips_trained_on"] is None))
    parts = [
        front_matter(_head(description, record, of_this, figures)),
        *_what(description, figures),
        "## What it labels",
        "",
        *class_rows(description, of_this[0] if of_this else None),
        "## What it was trained on",
        "",
        *_trained_on(description, record, of_this),
        "## How good it is",
        "",
        *_in_int8(figures),
        *measured_words(description, of_this, len(evaluations)),
        *(["## What it gets wrong most", "", *mistake_rows(of_this[0])] if of_this else []),
        "## Probabilities and thresholds",
        "",
        *_probabilities(description),
        "## How it was checked",
        "",
        *_checked(figures),
        "## Run it",
        "",
        *_running(description, figures),
        "## Made with",
        "",
        *_versions(record, figures),
        "## Licence",
        "",
        "Nothing is said here of a licence, neither of this model nor of the recordings that it was trained on: add",
        "`license:` to the head of this file, and who may do what with it to this section, before you pass it on.",
    ]
    write_file(folder / CARD, "\n".join([*parts, ""]))


def _json(path: Path) -> dict[str, Any]:
    """Returns the content of a file of JSON, nothing where it is not there or is none."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    return {}


def _head(
    description: ArtifactDescription, record: dict[str, Any], evaluations: list[Evaluation], figures: dict[str, Any]
) -> dict[str, Any]:
    """Returns the head of the card; in it stand, as `model-index` has them, accuracies of this file on new clips."""
    if "accuracy" in figures:  # in int8: what it was made of has been evaluated, and not this
        name = folder_name(record.get("features"))
        results = [_result(name, figures["tested_on"], figures["accuracy"], clips=figures["tested_clips"])]
    else:
        results = [
            _result(folder_name(one["features"]), one["tested_on"], one["accuracy"],
                    interval=one["interval_95"], clips=one["clips"])
            for one in evaluations if not one["clips_trained_on"]
        ]  # fmt: skip
    return {
        "library_name": _LIBRARIES[figures["format"]],
        "pipeline_tag": "audio-classification",
        "tags": ["audio-classification", "soundmill", figures["format"]],
        "metrics": ["accuracy"] if results else [],
        "model-index": [{"name": description.network_name, "results": results}] if results else [],
    }


def _result(dataset: str, tested_on: list[str], accuracy: float, **measured: Any) -> dict[str, Any]:
    return {
        "task": {"type": "audio-classification"},
        "dataset": {"name": dataset, "type": "soundmill", "split": "+".join(tested_on)},
        "metrics": [{"type": "accuracy", "value": accuracy, "name": "Accuracy", "args": measured}],
    }


def _in_int8(figures: dict[str, Any]) -> list[str]:
    if "accuracy" not in figures:
        return []
    tested = markdown_text("+".join(figures["tested_on"]))
    return [
        f"**In int8, as in this file, the accuracy is {figures['accuracy']:.4f}** on {tested}: "
        f"{counted(figures['tested_clips'], 'clip')}, of which the network in float32 is right on "
        f"{figures['float_accuracy']:.4f}; {figures['same_label']:.2%} get the same label from both. What follows was "
        "measured of the network in float32.",
        "",
    ]


def _what(description: ArtifactDescription, figures: dict[str, Any]) -> list[str]:
    spec = description.spec
    network, classes = markdown_text(description.network_name), counted(len(description.classes), "class", "classes")
    if figures["takes"] == "features":
        shape = ", ".join(map(str, spec.shape))
        takes = [f"- features, float32 [n, {shape}]: what goes before them stands in `before.md`"]
    else:
        takes = [f"- sound: {clip_words(spec)}", f"- inside, the front end: {front_end_words(spec)}"]
    return [
        f"# {network} for {classes} of sound",
        "",
        f"A network of soundmill that gives a sound one of {classes}, {_form(figures['format'])}, "
        f"{size_text(figures['bytes'])}.",
        "",
        "## What it takes",
        "",
        *takes,
        f"- fingerprint of the front end: `{description.fingerprint}`",
        f"- digest of the network: `{description.network_sha256}`",
        "",
        "These, the classes, rate, length, temperature and thresholds are inside the file.",
        "",
    ]


def _form(format_name: str) -> str:
    if format_name == SAVED_MODEL:
        return "as the TensorFlow SavedModel that this folder is"
    return f"as `{FORMATS[format_name].file}`"


def _trained_on(description: ArtifactDescription, record: dict[str, Any], evaluations: list[Evaluation]) -> list[str]:
    partitions = ", ".join(map(markdown_text, description.trained_on))
    words = f"{'Partition' if len(description.trained_on) == 1 else 'Partitions'} {partitions}"
    if record.get("features"):
        words += f" of the feature set {markdown_text(folder_name(record['features']))}"
    trained = next((one["training"] for one in evaluations if "training" in one), None)
    if trained:
        words += f": {counted(trained['clips'], 'clip')} of {counted(trained['groups'], 'group')}"
    lines = [f"{words}."]
    if record.get("rows_sha256"):
        lines.append(f"The digest of its shards, with those validated on, is `{record['rows_sha256']}`.")
    if "settings" in record:
        begun = f", begun on {markdown_text(str(record['begun'])[:10])}" if record.get("begun") else ""
        lines.append(f"Seed {record['settings']['seed']}{begun}.")
    return [" ".join(lines), ""]


def _probabilities(description: ArtifactDescription) -> list[str]:
    calibration = description.calibration
    logits = (
        "`predictions`" if description.returns_logits else "the logarithms of `predictions`, which are 1e-7 at least"
    )
    if calibration.temperature == 1 and not description.returns_logits:
        first = "`probabilities` are `predictions` as they are."
    else:
        first = (f"`probabilities` are the softmax of {logits}, divided by the temperature "
                 f"{calibration.temperature:.6g}: that is done inside, and not to be done again.")  # fmt: skip
    if calibration.thresholds is None:
        return [f"{first} The run has no thresholds, as it was trained without validation clips.", ""]
    second = (
        "The thresholds above are those from which on a class, where it is the most probable one, was right on "
        f"{calibration.target_precision:.0%} of the validation clips. To apply them, take the most probable class, and "
        "give its label where its probability is its threshold or more; else give none. A class without a threshold "
        f"({len(calibration.without_threshold)} of {len(description.classes)}) had too few clips for one, and gives no "
        "label."
    )
    return [f"{first} {second}", ""]


def _checked(figures: dict[str, Any]) -> list[str]:
    signals = [counted(figures["signals"], "made signal")] if "signals" in figures else []
    if figures.get("real_clips"):
        signals.append(f"{counted(figures['real_clips'], 'clip')} that it was trained or tested with")
    on = f", on {' and '.join(signals)}" if signals else ""
    words = (f"By its own runtime, this file gives the probabilities of the network that was trained to "
             f"{figures['largest_difference']:.1e} at most{on}.")  # fmt: skip
    return [words, ""]


def _running(description: ArtifactDescription, figures: dict[str, Any]) -> list[str]:
    code = run_it(figures["format"], description.spec)
    lines = ["In this folder, without soundmill:", "", f"```python\n{code}```", ""]
    if figures["format"] == "onnx" and figures["takes"] == "waveforms":
        lines += [
            "In a browser, from the microphone or a file: `npm install --ignore-scripts` fetches "
            f"{' '.join(runtime())} into this folder, `python -m http.server --bind 127.0.0.1` serves it, and `{PAGE}` "
            "is opened at the address that this prints.",
            "",
        ]
    return lines


def _versions(record: dict[str, Any], figures: dict[str, Any]) -> list[str]:
    exported = {}
    for name in _PACKAGES[figures["format"]]:
        with contextlib.suppress(PackageNotFoundError):
            exported[name] = version(name)
    rows = [(title, ", ".join(f"{name} {number}" for name, number in versions.items() if name != "decoding"))
            for title, versions in (("trained", record.get("versions") or {}), ("exported", exported))]  # fmt: skip
    return [f"- {title}: {markdown_text(text)}" for title, text in rows if text] + [""]
