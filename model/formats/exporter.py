"""From a run to an exported folder that was compared with the live network."""

import os
import tempfile
import time
from collections.abc import Callable
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
from model.formats.export_format import FORMATS, ONNX, SAVED_MODEL, ExportFormat, export_format
from model.formats.int8_export import Int8Clips, measure, range_batches
from model.formats.model_card import write_model_card
from model.formats.parity import TOLERANCE, Exported, compare, made_signals, real_signals
from model.formats.runtime_process import runtime_process
from model.formats.web.page import write_web_page
from model.inference.artifact import Artifact, load_artifact, networks_folder, read_description
from model.inference.tensorflow_setup import quiet_tensorflow

BEFORE_FILE = "before.md"
"""What an export has that takes features: what goes before it."""
_PATTERN = frozenset("*?[\\")


def export(
    run: str,
    output: str,
    overwrite: bool = False,
    format_name: str = SAVED_MODEL,
    int8_clips: Int8Clips | None = None,
) -> dict[str, Any]:
    """Writes an export and compares it with the live network by its own runtime; a folder that is whole or not there.

    Where the front end runs a network of its own it is the head alone, with a text on what goes before it.

    Args:
        run: a run folder.
        output: the folder to write.
        overwrite: whether an export that stands there is replaced.
        format_name: one of `FORMATS`.
        int8_clips: what an export in int8 is made and measured with; it may differ from the live network, if it is
            as often right.

    Returns:
        The figures of the export.

    Raises:
        UsageError: the run cannot be used or the format cannot carry it, a package is missing, or the output exists.
        RunError: it cannot be written, its runtime cannot run it, or it gives other probabilities than the live
            network, in int8 other labels.
    """
    started = time.monotonic()
    read_description(run)
    chosen = export_format(format_name)
    final = check_output(output, overwrite, chosen)
    artifact = load_artifact(run)
    # These load TensorFlow: after what can be refused was refused, and after load_artifact has kept it quiet.
    import tensorflow as tf

    from model.formats.saved_model import reads_file

    networks = networks_folder(run)
    inputs_of = _inputs_of(artifact, networks)
    try:
        with tempfile.TemporaryDirectory() as scratch, quiet_tensorflow(), atomic_folder(final) as folder:
            _write(folder, artifact, chosen, inputs_of, int8_clips)
            exported = _loaded(folder, chosen, inputs_of, artifact.spec.network_name is None)
            signals = made_signals(artifact.spec, Path(scratch))
            real, no_real = real_signals(Path(run), artifact.spec, reads_file)
            tolerance = None if int8_clips else TOLERANCE
            differences = compare(artifact, exported, signals + real, networks, tolerance)
            measured = measure(artifact, exported, int8_clips, networks) if int8_clips else {}
            figures = {
                "format": chosen.name,
                "file": chosen.file,
                "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
                "takes": "waveforms" if artifact.spec.network_name is None else "features",
                "shape": (artifact.spec.clip_samples,) if artifact.spec.network_name is None else artifact.spec.shape,
                "clip_samples": artifact.spec.clip_samples,
                "sample_rate_hz": artifact.spec.sample_rate_hz,
                "signals": len(signals),
                "real_clips": len(real),
                "no_real_clips": no_real,
                "differences": differences,
                "largest_difference": max(differences.values()),
                "tolerance": tolerance,
                **measured,
            }
            write_model_card(folder, Path(run), figures)
            if chosen.name == ONNX and artifact.spec.network_name is None:
                write_web_page(folder)
    except (OSError, tf.errors.OpError, soundfile.SoundFileError) as error:
        raise RunError(f"cannot write {output}: {_cause(error)}; nothing was kept of it") from error
    return {"seconds": time.monotonic() - started, **figures}


_Inputs = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def _write(
    folder: Path, artifact: Artifact, chosen: ExportFormat, inputs_of: _Inputs, int8_clips: Int8Clips | None
) -> None:
    """Writes the files of an export."""
    if chosen.name == SAVED_MODEL:
        from model.formats.saved_model import SavedModel

        SavedModel(artifact).save(folder)
    elif chosen.name == ONNX:
        from model.formats.onnx_file import write_onnx

        write_onnx(folder / chosen.file, artifact)
    else:
        from model.formats.litert_file import write_litert

        batches = map(inputs_of, range_batches(int8_clips)) if int8_clips else None
        write_litert(folder / chosen.file, artifact, batches)
    if artifact.spec.network_name is not None:
        shape = ", ".join(map(str, ("n", *artifact.spec.shape)))
        steps = [f"{number}. {step}" for number, step in enumerate(before_head(artifact.spec), 1)]
        write_file(folder / BEFORE_FILE, "\n".join([
            f"This model takes features, float32 [{shape}], not sound. What goes before it:", "", *steps, "",
        ]))  # fmt: skip


def _inputs_of(artifact: Artifact, networks: Path) -> _Inputs:
    """Returns what makes of waveforms what an export takes: themselves, or of a head what the live front end gives."""
    if artifact.spec.network_name is None:
        return lambda waveforms: waveforms
    front_end = FrontEnd(artifact.spec, networks)

    def features_of(waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        features = np.empty((len(waveforms), *artifact.spec.shape), artifact.spec.storage_dtype)
        front_end.compute(waveforms, features)
        return features.astype(np.float32)

    return features_of


def _loaded(folder: Path, chosen: ExportFormat, inputs_of: _Inputs, takes_sound: bool) -> Exported:
    """Returns an export loaded by its own runtime."""
    process = runtime_process(chosen.runtime)
    process.load(folder if chosen.name == SAVED_MODEL else folder / chosen.file)
    takes_files = chosen.name == SAVED_MODEL and takes_sound
    return Exported(
        lambda waveforms: process.run(inputs_of(waveforms))["probabilities"],
        (lambda path: process.run(path)["probabilities"][0]) if takes_files else None,
    )


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
