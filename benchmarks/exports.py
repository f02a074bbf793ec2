"""Measures the exports of runs: python benchmarks/exports.py RUN...

Each run is exported in every format, and each export labels the testing list, from its recordings, in a process with
NumPy and the export's runtime alone, on one core. Printed are the size of what the runtime loads, the accuracy, the
largest difference to Keras of a probability, clips labelled in a second of that core, and the seconds of it from the
start of the process to the first label, the median of some turns. Other work of the machine counts little that way.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine

from features.errors import RunError, UsageError
from features.frontend.spectrogram import compute_features
from features.runtime.quantities import size_text
from model.evaluation.int8_clips import features_of, int8_clips
from model.formats.export_format import FORMATS, LITERT_INT8, SAVED_MODEL, ExportFormat
from model.formats.exporter import export
from model.formats.runtime_process import LOADERS
from model.inference.artifact import load_artifact

BATCH_CLIPS = 32
# Arguments: the export, the folder of the clips, and how many clips are labelled: all, or the first for the start.
_PROGRAM = """
import json, os, sys, time
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
import numpy as np
{load}
run = load(sys.argv[1])
clips = [np.load(os.path.join(sys.argv[2], name)) for name in sorted(os.listdir(sys.argv[2]))]
if sys.argv[3] == "first":
    run(clips[0][:1])
    sys.exit()
run(clips[0])
started = time.process_time()
found = [run(batch)["probabilities"] for batch in clips]
seconds = time.process_time() - started
np.save(sys.argv[3], np.concatenate(found))
print(json.dumps(sum(map(len, clips)) / seconds))
"""


def batches(clips: list[np.ndarray]) -> list[np.ndarray]:
    """Returns clips in batches of one length."""
    if len({len(clip) for clip in clips}) > 1:
        return [clip[np.newaxis] for clip in clips]
    return [np.stack(clips[first : first + BATCH_CLIPS]) for first in range(0, len(clips), BATCH_CLIPS)]


def process(chosen: ExportFormat, folder: Path, clips: Path, rest: str) -> str:
    """Runs an export in a process without our code; returns what it prints."""
    path = folder if chosen.name == SAVED_MODEL else folder / chosen.file
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    quiet = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "ORT_DISABLE_TELEMETRY": "1",
        "HOME": str(clips.parent),
        "TF_ENABLE_ONEDNN_OPTS": "1",
    }
    return subprocess.run(
        [sys.executable, "-I", "-c", _PROGRAM.format(load=LOADERS[chosen.runtime]), str(path), str(clips), rest],
        env={**environment, **quiet}, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ).stdout  # fmt: skip


def measure(run: str, turns: int, root: Path) -> list[str]:
    """Returns the lines of a run's table."""
    artifact = load_artifact(run)
    int8 = int8_clips(run, features_of(run), ("testing",))
    tested = list(int8.tested)
    true = np.array([number for _, number in tested])
    together = batches([waveform for waveform, _ in tested])
    live = np.concatenate([artifact.probabilities(compute_features(batch, artifact.spec)) for batch in together])
    clips = root / "clips"
    clips.mkdir()
    for number, batch in enumerate(together):
        np.save(clips / f"{number:06d}.npy", batch)
    lines = [row(artifact.network_name, "Keras", f"{len(true):,} clips", np.mean(live.argmax(axis=1) == true))]
    for chosen in FORMATS.values():
        folder = root / chosen.name
        try:
            figures: dict[str, Any] = export(
                run, str(folder), True, chosen.name, int8 if chosen.name == LITERT_INT8 else None
            )
        except (RunError, UsageError) as error:
            lines.append(f"| `{artifact.network_name}` | {chosen.name} | refused: {error} |")
            continue
        rate = json.loads(process(chosen, folder, clips, str(root / "found.npy")))
        found = np.load(root / "found.npy")
        starts = []
        for _ in range(turns):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            process(chosen, folder, clips, "first")
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            starts.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        lines.append(row(artifact.network_name, chosen.name, size_text(figures["bytes"]),
                         np.mean(found.argmax(axis=1) == true), f"{np.abs(found - live).max():.1e}", f"{rate:,.0f}",
                         f"{statistics.median(starts):.1f}"))  # fmt: skip
    return lines


def row(
    network: str, name: str, size: str, accuracy: float, difference: str = "", rate: str = "", start: str = ""
) -> str:
    """Returns a line of the table."""
    return f"| `{network}` | {name} | {size} | {accuracy:.4f} | {difference} | {rate} | {start} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder whose set has testing clips")
    parser.add_argument("--turns", type=int, default=3, help="starts of each export (%(default)s)")
    options = parser.parse_args()
    print(machine("tensorflow", "ai-edge-litert", "onnxruntime", "ai-edge-quantizer", "tf2onnx"))
    print("\n| network | format | size | accuracy | largest difference | clips/s | start, s |")
    print("| --- | --- | --: | --: | --: | --: | --: |", flush=True)
    for run in options.runs:
        with tempfile.TemporaryDirectory() as folder:
            print("\n".join(measure(run, options.turns, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
