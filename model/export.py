"""Writes a trained network and its front end for other programs: python -m model.export."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
from pathlib import Path
from typing import Any

from features.errors import UsageError
from features.io.local_copy import check_local
from features.runtime import command
from features.runtime.quantities import size_text
from features.sources.partition import TESTING, parse_partitions
from model.evaluation.int8_clips import features_of, int8_clips
from model.formats.export_format import FORMATS, LITERT_INT8, ONNX, SAVED_MODEL, export_format
from model.formats.exporter import BEFORE_FILE, export
from model.formats.int8_export import MAX_ACCURACY_LOSS, Int8Clips
from model.formats.model_card import CARD
from model.formats.run_it import run_it
from model.formats.web.page import PAGE
from model.inference.artifact import read_description
from model.inference.run_store import MODEL_ALONE, local_run
from model.training.run_folder import NOISE

EXAMPLE = "python -m model.export --model RUN --output DIR"
# Beside the model, by noise labels_of knows what labels count as, and the card says what an evaluation measured.
_NEEDED = (*MODEL_ALONE, NOISE, "evaluation/")


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser("Writes a trained network and its front end for other programs.", EXAMPLE)
    result.add_argument("--model", required=True, metavar="RUN", help="run folder made by model.train")
    result.add_argument("--output", required=True, metavar="DIR", help="new folder for the export")
    result.add_argument("--format", default=SAVED_MODEL, choices=FORMATS, help="of the export (%(default)s)")
    result.add_argument(
        "--features",
        metavar="FEATURES",
        help=f"{LITERT_INT8}: the set that it was trained on (the one that its config.json names)",
    )
    result.add_argument("--test-on", metavar="LIST", help=f"{LITERT_INT8}: partitions that its accuracy is measured "
                        f"on, by commas ({TESTING})")  # fmt: skip
    result.add_argument("--max-accuracy-loss", type=float, metavar="SHARE",
                        help=f"{LITERT_INT8}: how much less often it may be right ({MAX_ACCURACY_LOSS})")  # fmt: skip
    result.add_argument("--overwrite", action="store_true", help="replace an export that stands there")
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Exports and prints a paragraph about the export."""
    check_local("--output", options.output)
    with local_run(options.model, _NEEDED) as run:
        figures = export(run, options.output, options.overwrite, options.format, _int8_clips(options, run))
        lines = run_it(options.format, read_description(run).spec, options.output).splitlines()
    checked = f"{figures['signals']} made signals"
    if figures["real_clips"]:
        checked += f" and {figures['real_clips']} clips of its source"
    paragraph = (
        f"Wrote {options.output}, {size_text(figures['bytes'])}, in {figures['seconds']:.1f} s. {_takes(figures)} By "
        f"its own runtime it differs from the live network by {figures['largest_difference']:.1e} at most in any "
        f"probability, on {checked}."
    )
    if "accuracy" in figures:
        paragraph += (f" In int8 it is right on {figures['accuracy']:.2%} of {figures['tested_clips']:,} clips of "
                      f"{', '.join(figures['tested_on'])}, in float32 on {figures['float_accuracy']:.2%}.")  # fmt: skip
    if figures["no_real_clips"]:
        paragraph += f" It was not compared on real clips: {figures['no_real_clips']}."
    if figures["takes"] == "features":
        paragraph += f" What goes before it stands in {Path(options.output) / BEFORE_FILE}."
    if figures["format"] == ONNX and figures["takes"] == "waveforms":
        paragraph += f" {Path(options.output) / PAGE} runs it in a browser."
    paragraph += f" Its card is {Path(options.output) / CARD}. It runs without soundmill:"
    command.finish(options, [paragraph, *(f"  {line}".rstrip() for line in lines)], figures)
    return 0


def _int8_clips(options: argparse.Namespace, run: str) -> Int8Clips | None:
    """Returns what an export in int8 is made with; None for another format, which takes no options of its."""
    if options.format != LITERT_INT8:
        for name in ("features", "test_on", "max_accuracy_loss"):
            if getattr(options, name) is not None:
                raise UsageError(f"--{name.replace('_', '-')} goes with --format {LITERT_INT8}")
        return None
    export_format(LITERT_INT8)  # what it takes, before sets are read
    loss = MAX_ACCURACY_LOSS if options.max_accuracy_loss is None else options.max_accuracy_loss
    if not 0 <= loss <= 1:
        raise UsageError(f"--max-accuracy-loss is a share from 0 to 1, not {loss:g}")
    features = options.features or features_of(run)
    return int8_clips(run, features, parse_partitions(options.test_on or TESTING), loss)


def _takes(figures: dict[str, Any]) -> str:
    """Returns the sentence on what an export takes."""
    if figures["takes"] == "features":
        return f"It takes features, float32 [n, {', '.join(map(str, figures['shape']))}]."
    sentence = (f"It takes waveforms, float32 [n, {figures['clip_samples'] or 'samples'}] at "
                f"{figures['sample_rate_hz']:,} Hz.")  # fmt: skip
    if figures["format"] == SAVED_MODEL:
        sentence += " Its signature from_path takes the path of a 16-bit PCM WAV file of that rate."
    return sentence


if __name__ == "__main__":
    command.run(main, parser())
