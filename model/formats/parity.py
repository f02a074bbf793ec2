"""The check that an export agrees with the live network, the same for every format."""

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from features.audio.recording import open_recording
from features.errors import ClipError, RunError, UsageError
from features.frontend.clip import clip_waveform
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import compute_features
from features.io.filesystem import Location, is_uri, place
from features.runtime.invocation import command_line
from features.runtime.log import LOG
from features.sources.paths import clip_file
from features.store.clips_table import clips_batches
from features.store.manifest import load_manifest
from model.inference.artifact import Artifact

# The largest difference of a probability from the live network's that an export may have.
TOLERANCE = 1e-4
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
        waveform: as the live front end takes it, float32 of shape (samples,).
        path: of a WAV file that holds it and that the export can read, None where it goes in as a waveform alone.
    """

    name: str
    waveform: NDArray[np.float32]
    path: str | None = None


@dataclass(frozen=True)
class Exported:
    """A network with its front end in the format of other programs, loaded again.

    Attributes:
        probabilities: returns the probability of each class: (clips, samples) to (clips, classes).
        file_probabilities: the same, (classes,), of a 16-bit PCM WAV file of the network's rate; None where the export
            takes no files.
    """

    probabilities: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    file_probabilities: Callable[[str], NDArray[np.float32]] | None = None


def compare(
    artifact: Artifact,
    exported: Exported,
    signals: Sequence[Signal],
    networks: Location | None = None,
    tolerance: float | None = TOLERANCE,
) -> dict[str, float]:
    """Compares an export with the live network, as waveforms and, where both take one, by path.

    Args:
        artifact: the live network.
        exported: the export.
        signals: what to compare them on.
        networks: folder with the network that the live front end runs, where it runs one.
        tolerance: the largest difference that is allowed; None for any, as long as it is a number.

    Returns:
        The largest difference of a probability, by signal.

    Raises:
        RunError: one is above the tolerance, or no number.
    """
    differences: dict[str, float] = {}
    for together in _of_one_length(signals):
        waveforms = np.stack([signal.waveform for signal in together])
        live = artifact.probabilities(compute_features(waveforms, artifact.spec, networks))
        for signal, expected, row in zip(together, live, exported.probabilities(waveforms), strict=True):
            outputs = [row]
            if signal.path is not None and exported.file_probabilities is not None:
                outputs.append(exported.file_probabilities(signal.path))
            difference = float(np.max(np.abs(np.stack(outputs) - expected)))
            LOG.debug("%s: probabilities differ by %.1e at most", signal.name, difference)
            if not difference <= (math.inf if tolerance is None else tolerance):  # NaN is not either
                raise RunError(
                    f"the exported network gives other probabilities than the live one: by {difference:.1e} on "
                    f"{signal.name}, where {tolerance or 'a number'} is allowed; nothing was kept of the export. Use "
                    f"the run itself, with {command_line('pipelines.score')}"
                )
            differences[signal.name] = difference
    return differences


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
    needed = spec.channels if isinstance(spec.channels, int) else 1
    for name, waveform in waveforms.items():
        path = str(folder / f"{name}.wav")
        channels = waveform.reshape(len(waveform), -1)
        channels = np.pad(channels, ((0, 0), (max(0, needed - channels.shape[1]), 0)))  # the last one is used then
        soundfile.write(path, channels, spec.sample_rate_hz, subtype="PCM_16")
        signals.append(Signal(name, clip_waveform(path, spec)[0], path))
    return signals


def real_signals(run: Path, spec: FeatureSpec, reads_file: Callable[[str], bool]) -> tuple[list[Signal], str]:
    """Reads a few clips of the source that the network's features were made from.

    Args:
        run: a run folder, whose config.json names the features.
        spec: of its network.
        reads_file: whether the export reads a WAV file; one that it refuses is compared as a waveform.

    Returns:
        The clips, and where there are none the reason, else "".
    """
    try:
        folder = place(json.loads((run / "config.json").read_text(encoding="utf-8"))["features"])
        manifest = load_manifest(folder)
        rows = next(clips_batches(manifest.layout(folder), manifest, ["path", "start", "duration"], rows=_TABLE_ROWS))
        root = manifest.source["root"]
    except (UsageError, OSError, ValueError, KeyError, TypeError):
        return [], "the features that it was trained on are not where its config.json says"
    except RunError as error:
        return [], str(error)
    signals = []
    for row in rows.take(np.unique(np.linspace(0, len(rows) - 1, _REAL_CLIPS).astype(int))).to_pylist():
        path = clip_file(root, row["path"])
        with contextlib.suppress(ClipError), open_recording(path, whole=False) as recording:
            waveform, _, _ = clip_waveform(recording.file, spec, row["start"], row["duration"])
            info = recording.probe()
            whole = row["start"] == 0 and row["duration"] is None
            plain = not is_uri(path) and (info.pcm_offset, info.pcm_bytes) == (_PLAIN_HEADER_BYTES, 2)
            plain &= info.rate_hz == spec.sample_rate_hz
            name = f"{row['path']} from sample {row['start']}" if row["start"] else row["path"]
            signals.append(Signal(name, waveform, path if whole and plain and reads_file(path) else None))
    return signals, "" if signals else f"no clip of its source, {root}, is there any more"


def _of_one_length(signals: Sequence[Signal]) -> Iterator[list[Signal]]:
    """Divides signals into batches; those of an export with a clip length are one."""
    batches: dict[int, list[Signal]] = {}
    for signal in signals:
        batches.setdefault(len(signal.waveform), []).append(signal)
    yield from batches.values()
