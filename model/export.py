"""Writes a trained network and its front end for other programs: python -m model.export."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
from pathlib import Path
from typing import Any

from features.io.local_copy import check_local
from features.runtime import command
from features.runtime.quantities import size_text
from model.formats.export_format import FORMATS, SAVED_MODEL
from model.formats.exporter import BEFORE_FILE, export
from model.inference.run_store import MODEL_ALONE, local_run

EXAMPLE = "python -m model.export --model RUN --output DIR"


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser("Writes a trained network and its front end for other programs.", EXAMPLE)
    result.add_argument("--model", required=True, metavar="RUN", help="run folder made by model.train")
    result.add_argument("--output", required=True, metavar="DIR", help="new folder for the export")
    result.add_argument("--format", default=SAVED_MODEL, choices=FORMATS, help="of the export (%(default)s)")
    result.add_argument("--overwrite", action="store_true", help="replace an export that stands there")
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Exports and prints a paragraph about the export."""
    check_local("--output", options.output)
    with local_run(options.model, MODEL_ALONE) as run:
        figures = export(run, options.output, options.overwrite, options.format)
    checked = f"{figures['signals']} made signals"
    if figures["real_clips"]:
        checked += f" and {figures['real_clips']} clips of its source"
    paragraph = (
        f"Wrote {options.output}, {size_text(figures['bytes'])}, in {figures['seconds']:.1f} s. {_takes(figures)} By "
        f"its own runtime it differs from the live network by {figures['largest_difference']:.1e} at most in any "
        f"probability, on {checked}."
    )
    if figures["no_real_clips"]:
        paragraph += f" It was not compared on real clips: {figures['no_real_clips']}."
    if figures["takes"] == "features":
        paragraph += f" What goes before it stands in {Path(options.output) / BEFORE_FILE}."
    paragraph += f" Rate, length and classes are inside, {_INSIDE[figures['file']]}. Try it:"
    command.finish(options, [paragraph, *_example(options.output, figures)], figures)
    return 0


_INSIDE = {
    "saved_model.pb": "in assets/soundmill.json",
    "model.tflite": "as soundmill.json of the ZIP archive at its end",
    "model.onnx": "in its metadata, under soundmill",
}


def _takes(figures: dict[str, Any]) -> str:
    """Returns the sentence on what an export takes."""
    if figures["takes"] == "features":
        return f"It takes features, float32 [n, {', '.join(map(str, figures['shape']))}]."
    sentence = (f"It takes waveforms, float32 [n, {figures['clip_samples'] or 'samples'}] at "
                f"{figures['sample_rate_hz']:,} Hz.")  # fmt: skip
    if figures["format"] == SAVED_MODEL:
        sentence += " Its signature from_path takes the path of a 16-bit PCM WAV file of that rate."
    return sentence


def _example(output: str, figures: dict[str, Any]) -> list[str]:
    """Returns lines of code that run an export."""
    name, path = figures["takes"], repr(str(Path(output) / figures["file"]))
    if figures["format"] == SAVED_MODEL:
        call = 'tf.constant("clip.wav")' if name == "waveforms" else name
        return [f"  model = tf.saved_model.load({output!r})", f'  print(model({call})["class_names"])']
    if figures["runtime"] == "litert":
        return [f"  run = Interpreter({path}).get_signature_runner()", f'  print(run({name}={name})["probabilities"])']
    return [
        f"  session = onnxruntime.InferenceSession({path})",
        f'  print(session.run(["probabilities"], {{"{name}": {name}}}))',
    ]


if __name__ == "__main__":
    command.run(main, parser())
