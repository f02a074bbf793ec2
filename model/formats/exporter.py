"""From a run to an exported folder that was compared with the live network."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from features.errors import RunError, UsageError
from features.frontend.spectrogram import FrontEnd
from features.io.atomic import atomic_folder, write_file
from features.sources.paths import escape_path
from model.formats.description import FORMAT_NAME, before_head
from model.formats.export_format import FORMATS, LITERT, ONNX, SAVED_MODEL, ExportFormat, export_format
from model.formats.parity import TOLERANCE, Exported, compare, made_signals, real_signals
from model.formats.runtime_process import runtime_process
from model.inference.artifact import Artifact, load_artifact, networks_folder, read_description
from model.inference.tensorflow_setup import quiet_tensorflow

BEFORE_FILE = "before.md"
"""What an export has that takes features: what goes before it."""
_PATTERN = frozenset("*?[\\")


def export(run: str, output: str, overwrite: bool = False, format_name: str = SAVED_MODEL) -> dict[str, Any]:
    """Writes an export and compares it with the live network by its own runtime; a folder that is whole or not there.

    Where the front end runs a network of its own it is the head alone, with a text on what goes before it.

    Args:
        run: a run folder.
        output: the folder to write.
        overwrite: whether an export that stands there is replaced.
        format_name: one of `FORMATS`.

    Returns:
        The figures of the export.

    Raises:
        UsageError: the run cannot be used or the format cannot carry it, a package is missing, or the output exists.
        RunError: it cannot be written, or the saved network gives other probabilities than the live one.
    """
    started = time.monotonic()
    read_description(run)
    chosen = export_format(format_name)
    final = check_output(output, overwrite, chosen)
    artifact = load_artifact(run)
    # These load TensorFlow: after what can be refused was refused, and after load_artifact has kept it quiet.
    import tensorflow as tf

    from model.formats.saved_model import reads_file

    is_head = artifact.spec.network_name is not None
    try:
        with tempfile.TemporaryDirectory() as scratch, quiet_tensorflow(), atomic_folder(final) as folder:
            _write(folder, artifact, chosen)
            exported = _loaded(folder, artifact, chosen, networks_folder(run))
            signals = made_signals(artifact.spec, Path(scratch))
            real, no_real = real_signals(Path(run), artifact.spec, reads_file)
            differences = compare(artifact, exported, signals + real, networks_folder(run))
            num_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    except (OSError, tf.errors.OpError, soundfile.SoundFileError) as error:
        raise RunError(f"cannot write {output}: {_cause(error)}; nothing was kept of it") from error
    return {
        "seconds": time.monotonic() - started,
        "format": chosen.name,
        "file": chosen.file,
        "runtime": chosen.runtime,
        "bytes": num_bytes,
        "takes": "features" if is_head else "waveforms",
        "shape": artifact.spec.shape if is_head else (artifact.spec.clip_samples,),
        "clip_samples": artifact.spec.clip_samples,
        "sample_rate_hz": artifact.spec.sample_rate_hz,
        "signals": len(signals),
        "real_clips": len(real),
        "no_real_clips": no_real,
        "differences": differences,
        "largest_difference": max(differences.values()),
        "tolerance": TOLERANCE,
    }


def _write(folder: Path, artifact: Artifact, chosen: ExportFormat) -> None:
    """Writes the files of an export."""
    if chosen.name == SAVED_MODEL:
        from model.formats.saved_model import SavedModel

        SavedModel(artifact).save(folder)
    elif chosen.name == LITERT:
        from model.formats.litert_file import write_litert

        write_litert(folder / chosen.file, artifact)
    elif chosen.name == ONNX:
        from model.formats.onnx_file import write_onnx

        write_onnx(folder / chosen.file, artifact)
    if artifact.spec.network_name is not None:
        shape = ", ".join(map(str, ("n", *artifact.spec.shape)))
        steps = [f"{number}. {step}" for number, step in enumerate(before_head(artifact.spec), 1)]
        write_file(folder / BEFORE_FILE, "\n".join([
            f"This model takes features, float32 [{shape}], not sound. What goes before it:", "", *steps, "",
        ]))  # fmt: skip


def _loaded(folder: Path, artifact: Artifact, chosen: ExportFormat, networks: Path) -> Exported:
    """Returns an export loaded by its own runtime, a head behind its front end."""
    process = runtime_process(chosen.runtime)
    process.load(folder if chosen.name == SAVED_MODEL else folder / chosen.file)
    if artifact.spec.network_name is None:
        by_path = (lambda path: process.run(path)["probabilities"][0]) if chosen.name == SAVED_MODEL else None
        return Exported(lambda waveforms: process.run(waveforms)["probabilities"], by_path)
    front_end = FrontEnd(artifact.spec, networks)

    def of_features(waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        features = np.empty((len(waveforms), *artifact.spec.shape), artifact.spec.storage_dtype)
        front_end.compute(waveforms, features)
        return process.run(features.astype("float32"))["probabilities"]

    return Exported(of_features)


def _cause(error: Exception) -> str:
    """Returns why a file cannot be written, of the names and traces that TensorFlow says around it the first alone."""
    said = (isinstance(error, OSError) and error.strerror) or str(error).rpartition("; ")[2].partition(" [Op:")[0]
    return " ".join(said.split())


def check_output(output: str, overwrite: bool, chosen: ExportFormat = FORMATS[SAVED_MODEL]) -> Path:
    """Returns the folder to write, without links.

    Raises:
        UsageError: something stands there that has to stay, or TensorFlow cannot load a SavedModel from there.
    """
    folder = Path(os.path.realpath(output))
    for path in (os.path.abspath(output), str(folder)) if chosen.name == SAVED_MODEL else ():
        if _PATTERN.intersection(path):
            raise UsageError(
                f"TensorFlow takes {' '.join(sorted(_PATTERN))} in a path for a pattern and cannot load a SavedModel "
                f"from {path}; give an --output without them"
            )
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"TensorFlow takes paths in UTF-8, and {escape_path(os.fsencode(path))} is none; give "
                             "another --output") from error  # fmt: skip
    if not folder.exists():
        return folder
    if not any(_is_export(folder / one.file) for one in FORMATS.values()):
        files = ", ".join(dict.fromkeys(one.file for one in FORMATS.values()))
        raise UsageError(f"{output} exists and is not an export: it has none of {files} that soundmill wrote; give "
                         "another --output")  # fmt: skip
    if not overwrite:
        raise UsageError(f"{output} exists already; give another --output, or --overwrite to replace it")
    return folder


def _is_export(file: Path) -> bool:
    """Returns whether a file is that of an export; one of LiteRT or ONNX that somebody else wrote is not."""
    if not file.is_file():
        return False
    return file.name == FORMATS[SAVED_MODEL].file or FORMAT_NAME.encode() in file.read_bytes()
