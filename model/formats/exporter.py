"""From a run to an exported folder that was compared with the live network."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import soundfile

from features.errors import RunError, UsageError
from features.io.atomic import atomic_folder, write_file
from features.sources.paths import escape_path
from model.formats.parity import TOLERANCE, Exported, compare, made_signals, real_signals
from model.inference.artifact import Artifact, load_artifact, networks_folder, read_description
from model.inference.tensorflow_setup import quiet_tensorflow

_SAVED_MODEL = "saved_model.pb"
BEFORE_FILE = "README.md"
"""What an export has that takes features: what goes before it."""
_PATTERN = frozenset("*?[\\")


def export(run: str, output: str, overwrite: bool = False) -> dict[str, Any]:
    """Writes a SavedModel, loads it again and compares it with the live network; a folder that is whole or not there.

    Where the front end runs a network of its own it is the head alone, with a text on what goes before it.

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

    from model.formats.saved_model import DESCRIPTION_ASSET, LoadedModel, WaveformModel, reads_file

    networks, is_head = networks_folder(run), artifact.spec.network_name is not None
    try:
        with tempfile.TemporaryDirectory() as scratch, atomic_folder(final) as folder, quiet_tensorflow():
            if is_head:
                exported = _write_head(folder, artifact, networks)
            else:
                WaveformModel(artifact).save(folder)
                loaded = LoadedModel(folder)
                exported = Exported(loaded.probabilities, loaded.file_probabilities)
            signals = made_signals(artifact.spec, Path(scratch))
            real, no_real = real_signals(Path(run), artifact.spec, reads_file)
            differences = compare(artifact, exported, signals + real, networks)
            num_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    except (OSError, tf.errors.OpError, soundfile.SoundFileError) as error:
        raise RunError(f"cannot write {output}: {_cause(error)}; nothing was kept of it") from error
    return {
        "seconds": time.monotonic() - started,
        "bytes": num_bytes,
        "takes": "features" if is_head else "waveforms",
        "shape": artifact.spec.shape if is_head else (artifact.spec.clip_samples,),
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


def _write_head(folder: Path, artifact: Artifact, networks: Path) -> Exported:
    """Writes the head alone with a text on what goes before it, and returns it loaded again behind its front end."""
    from model.formats.saved_model import HeadModel, LoadedHead, before_head

    HeadModel(artifact).save(folder)
    shape = ", ".join(map(str, ("n", *artifact.spec.shape)))
    steps = [f"{number}. {step}" for number, step in enumerate(before_head(artifact.spec), 1)]
    write_file(folder / BEFORE_FILE, "\n".join([
        f"This SavedModel takes features, float32 [{shape}], not sound. What goes before it:", "", *steps, "",
    ]))  # fmt: skip
    return Exported(LoadedHead(folder, artifact.spec, networks).probabilities)


def _cause(error: Exception) -> str:
    """Returns why a file cannot be written, of the names and traces that TensorFlow says around it the first alone."""
    said = (isinstance(error, OSError) and error.strerror) or str(error).rpartition("; ")[2].partition(" [Op:")[0]
    return " ".join(said.split())


def check_output(output: str, overwrite: bool) -> Path:
    """Returns the folder to write, without links.

    Raises:
        UsageError: something stands there that has to stay, or TensorFlow cannot load a SavedModel from there.
    """
    folder = Path(os.path.realpath(output))
    for path in (os.path.abspath(output), str(folder)):
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
    if not (folder / _SAVED_MODEL).is_file():
        raise UsageError(f"{output} exists and is not an export: it has no {_SAVED_MODEL}; give another --output")
    if not overwrite:
        raise UsageError(f"{output} exists already; give another --output, or --overwrite to replace it")
    return folder
