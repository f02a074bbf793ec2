"""Writes a trained network and its front end as one TensorFlow SavedModel: python -m model.export."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
from pathlib import Path

from features.io.local_copy import check_local
from features.runtime import command
from features.runtime.quantities import size_text
from model.formats.exporter import BEFORE_FILE, export
from model.inference.run_store import MODEL_ALONE, local_run

EXAMPLE = "python -m model.export --model RUN --output DIR"


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser("Writes a trained network and its front end as one TensorFlow SavedModel.", EXAMPLE)
    result.add_argument("--model", required=True, metavar="RUN", help="run folder made by model.train")
    result.add_argument("--output", required=True, metavar="DIR", help="new folder for the SavedModel")
    result.add_argument("--overwrite", action="store_true", help="replace an export that stands there")
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Exports and prints a paragraph about the export."""
    check_local("--output", options.output)
    with local_run(options.model, MODEL_ALONE) as run:
        figures = export(run, options.output, options.overwrite)
    takes = (
        f"waveforms, float32 [n, {figures['clip_samples'] or 'samples'}] at {figures['sample_rate_hz']:,} Hz; "
        "from_path takes the path of a 16-bit PCM WAV file of that rate"
    )
    if figures["takes"] == "features":
        takes = (f"features, float32 [n, {', '.join(map(str, figures['shape']))}]; what goes before it stands in "
                 f"{Path(options.output) / BEFORE_FILE}")  # fmt: skip
    checked = f"{figures['signals']} made signals"
    if figures["real_clips"]:
        checked += f" and {figures['real_clips']} clips of its source"
    paragraph = (
        f"Wrote {options.output}, {size_text(figures['bytes'])}, in {figures['seconds']:.1f} s. Its signature "
        f"serving_default takes {takes}. Loaded again, it differs from the live network by "
        f"{figures['largest_difference']:.1e} at most in any probability, on {checked}."
    )
    if figures["no_real_clips"]:
        paragraph += f" It was not compared on real clips: {figures['no_real_clips']}."
    paragraph += f" Rate, length and classes stand in {Path(options.output) / figures['description']}. Try it:"
    call = 'tf.constant("clip.wav")' if figures["takes"] == "waveforms" else "features"
    code = [
        f"  model = tf.saved_model.load({options.output!r})",
        f'  print(model({call})["class_names"])',
    ]
    command.finish(options, [paragraph, *code], figures)
    return 0


if __name__ == "__main__":
    command.run(main, parser())
