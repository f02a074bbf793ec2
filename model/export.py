"""Writes a trained network and its front end as one TensorFlow SavedModel: python -m model.export."""

import argparse
import contextlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from numpy.typing import NDArray

from features.audio.decode import probe
from features.errors import ClipError, RunError, UsageError
from features.frontend.clip import clip_waveform
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import compute_features
from features.io.atomic import atomic_folder
from features.runtime import command
from features.runtime.log import LOG, is_verbose
from features.sources.paths import clip_file
from features.store.manifest import load_manifest
from model.inference.artifact import Artifact, load_artifact, read_description

EXAMPLE = "python -m model.export --model RUN --output DIR"
# The largest difference of a probability from the live network's that an export may have.
TOLERANCE = 1e-4
_SAVED_MODEL = "saved_model.pb"
_REAL_CLIPS = 8
# Where the samples of a WAV begin that has no chunk but the two that it needs.
_PLAIN_HEADER_BYTES = 44
# Of a large table of clips, the rows that the real ones are chosen from.
_TABLE_ROWS = 65_536


@dataclass(frozen=True)
class Signal:
    """A clip on which the export is compared with the live network.

    Attributes:
        name: of the signal, for messages.
        waveform: as the live front end hears it, float32 of shape (samples,).
        path: of a WAV file that holds it and that the export can read, None where it goes in as a waveform alone.
    """

    name: str
    waveform: NDArray[np.float32]
    path: str | None = None


def export(run: str, output: str, overwrite: bool = False) -> dict[str, Any]:
    """Writes a SavedModel, loads it again and compares it with the live network; a folder that is whole or not there.

    Args:
        run: a run folder.
        output: the folder to write.
        overwrite: whether an export that stands there is replaced.

    Returns:
        The figures of the export.

    Raises:
        UsageError: the run cannot be used, or the output exists.
        RunError: it cannot be written, or the saved network gives other probabilities than the live one.
    """
    started = time.monotonic()
    read_description(run)
    final = check_output(output, overwrite)
    artifact = load_artifact(run)
    # These load TensorFlow: after what can be refused was refused, and after load_artifact has kept it quiet.
    import tensorflow as tf

    from model.formats.saved_model import DESCRIPTION_ASSET, WaveformModel

    with tempfile.TemporaryDirectory() as scratch, atomic_folder(final) as folder, _quiet_tensorflow():
        try:
            WaveformModel(artifact).save(folder)
        except tf.errors.OpError as error:  # which is how TensorFlow tells of a full disk
            raise RunError(f"cannot write {output}: {error.message}; nothing was kept of it") from error
        signals = made_signals(artifact.spec, Path(scratch))
        real, no_real = real_signals(Path(run), artifact.spec)
        differences = compare(artifact, folder, signals + real)
        num_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {
        "seconds": time.monotonic() - started,
        "bytes": num_bytes,
        "description": DESCRIPTION_ASSET,
        "clip_samples": artifact.spec.clip_samples,
        "sample_rate_hz": artifact.spec.sample_rate_hz,
        "signals": len(signals),
        "real_clips": len(real),
        "no_real_clips": no_real,
        "differences": differences,
        "largest_difference": max(differences.values()),
        "tolerance": TOLERANCE,
    }


def check_output(output: str, overwrite: bool) -> Path:
    """Returns the folder to write, without links; raises `UsageError` where something stands there that has to stay."""
    folder = Path(os.path.realpath(output))
    if not folder.exists():
        return folder
    if not (folder / _SAVED_MODEL).is_file():
        raise UsageError(f"{output} exists and is no export: it has no {_SAVED_MODEL}; give another --output")
    if not overwrite:
        raise UsageError(f"{output} exists already; give another --output, or --overwrite to replace it")
    return folder


def made_signals(spec: FeatureSpec, folder: Path) -> list[Signal]:
    """Writes signals made in code as 16-bit PCM WAV files: silence, noise, a sine, stereo, a short and a long one.

    Args:
        spec: whose rate they have.
        folder: where they go.
    """
    samples = spec.clip_samples or max(spec.sample_rate_hz, spec.least_samples)
    short = max(samples // 3, 1 if spec.clip_samples else spec.least_samples)
    generator = np.random.default_rng(0)
    noise = generator.uniform(-0.3, 0.3, 5 * samples // 2)
    sine = 0.5 * np.sin(2 * np.pi * 440.0 * np.arange(samples) / spec.sample_rate_hz)
    waveforms = {
        "silence": np.zeros(samples),
        "noise": noise[:samples],
        "sine": sine,
        "stereo": np.stack([sine, noise[:samples]], axis=1),
        "short": noise[:short],
        "long": noise * np.linspace(0.0, 1.0, len(noise)),
    }
    signals = []
    for name, waveform in waveforms.items():
        path = str(folder / f"{name}.wav")
        soundfile.write(path, waveform, spec.sample_rate_hz, subtype="PCM_16")
        signals.append(Signal(name, clip_waveform(path, spec)[0], path))
    return signals


def real_signals(run: Path, spec: FeatureSpec) -> tuple[list[Signal], str]:
    """Reads a few clips of the source that the network's features were made from.

    Args:
        run: a run folder, whose config.json names the features.
        spec: of its network.

    Returns:
        The clips, and why there are none where there are none.
    """
    try:
        folder = Path(json.loads((run / "config.json").read_text(encoding="utf-8"))["features"])
        manifest = load_manifest(folder)
        table = pq.ParquetFile(folder / manifest.clips_file)
        rows = next(table.iter_batches(_TABLE_ROWS, columns=["path", "start", "duration"]))
        root = manifest.source["root"]
    except (UsageError, OSError, ValueError, KeyError, TypeError, StopIteration, pa.ArrowException):
        return [], "the features that it was trained on are not where its config.json says"
    signals = []
    for row in rows.take(np.unique(np.linspace(0, len(rows) - 1, _REAL_CLIPS).astype(int))).to_pylist():
        path = clip_file(root, row["path"])
        with contextlib.suppress(ClipError):
            waveform, _, _ = clip_waveform(path, spec, row["start"], row["duration"])
            info = probe(path)
            whole = row["start"] == 0 and row["duration"] is None
            plain = info.pcm_offset == _PLAIN_HEADER_BYTES and info.rate_hz == spec.sample_rate_hz
            # TensorFlow is stricter about headers than soundmill: what it refuses is compared as a waveform.
            plain = plain and _tensorflow_reads(path)
            name = f"{row['path']} from sample {row['start']}" if row["start"] else row["path"]
            signals.append(Signal(name, waveform, path if whole and plain else None))
    return signals, "" if signals else f"no clip of its source, {root}, is there any more"


def _tensorflow_reads(path: str) -> bool:
    import tensorflow as tf

    try:
        tf.audio.decode_wav(tf.io.read_file(os.fsencode(path)))
    except tf.errors.OpError:
        return False
    return True


def compare(artifact: Artifact, folder: Path, signals: list[Signal]) -> dict[str, float]:
    """Compares a SavedModel with the live network, by path and as waveforms.

    Args:
        artifact: the live network.
        folder: the SavedModel.
        signals: what to compare them on.

    Returns:
        The largest difference of a probability, by signal.

    Raises:
        RunError: one is above `TOLERANCE`.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    by_path, by_waveform = loaded.signatures["from_path"], loaded.signatures["serving_default"]
    differences: dict[str, float] = {}
    for together in _of_one_length(signals):
        waveforms = np.stack([signal.waveform for signal in together])
        live = artifact.probabilities(compute_features(waveforms, artifact.spec))
        rows = by_waveform(waveforms=tf.constant(waveforms))["probabilities"].numpy()
        for signal, expected, row in zip(together, live, rows, strict=True):
            outputs = [row]
            if signal.path is not None:
                outputs.append(by_path(path=tf.constant(os.fsencode(signal.path)))["probabilities"].numpy()[0])
            difference = float(np.max(np.abs(np.stack(outputs) - expected)))
            LOG.debug("%s: probabilities differ by %.1e at most", signal.name, difference)
            if not difference <= TOLERANCE:  # NaN is not either
                raise RunError(
                    f"the exported network gives other probabilities than the live one: by {difference:.1e} on "
                    f"{signal.name}, where {TOLERANCE:g} is allowed; nothing was kept of the export. Use the run "
                    "itself, with python -m pipelines.score"
                )
            differences[signal.name] = difference
    return differences


def _of_one_length(signals: list[Signal]) -> Iterator[list[Signal]]:
    """Divides signals into batches; those of an export with a clip length are one."""
    batches: dict[int, list[Signal]] = {}
    for signal in signals:
        batches.setdefault(len(signal.waveform), []).append(signal)
    yield from batches.values()


@contextlib.contextmanager
def _quiet_tensorflow() -> Iterator[None]:
    """Holds back TensorFlow's remarks about saving and loading, unless `--verbose` was given."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    if not is_verbose():
        for logger in loggers:
            logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser("Writes a trained network and its front end as one TensorFlow SavedModel.", EXAMPLE)
    result.add_argument("--model", required=True, metavar="RUN", help="run folder made by model.train")
    result.add_argument("--output", required=True, metavar="DIR", help="new folder for the SavedModel")
    result.add_argument("--overwrite", action="store_true", help="replace an export that stands there")
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Exports and prints what came of it."""
    figures = export(options.model, options.output, options.overwrite)
    length = figures["clip_samples"] or "samples"
    checked = f"{figures['signals']} made signals"
    if figures["real_clips"]:
        checked += f" and {figures['real_clips']} clips of its source"
    paragraph = (
        f"Wrote {options.output}, {figures['bytes'] / 1e6:.1f} MB, in {figures['seconds']:.1f} s. Its signature "
        f"serving_default takes waveforms, float32 [n, {length}] at {figures['sample_rate_hz']:,} Hz; from_path takes "
        f"the path of a 16-bit PCM WAV file of that rate. Loaded again, it differs from the live network by "
        f"{figures['largest_difference']:.1e} at most in any probability, on {checked}."
    )
    if figures["no_real_clips"]:
        paragraph += f" It was not compared on real clips: {figures['no_real_clips']}."
    paragraph += (
        f" Rate, length and classes stand in {Path(options.output) / figures['description']}. Try it:\n"
        f"  model = tf.saved_model.load({options.output!r})\n"
        '  print(model(tf.constant("clip.wav"))["class_names"])'
    )
    command.finish(options, paragraph, figures)
    return 0


if __name__ == "__main__":
    command.run(main, parser())
