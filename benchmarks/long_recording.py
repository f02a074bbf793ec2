"""Measures the memory of scoring one long recording over time: python benchmarks/long_recording.py --model RUN.

The recording is a WAV (RF64, which may pass 4 GiB) of 48 kHz and two channels, silent but for a tone in each minute: a
sparse file. Memory is that of the command and all its processes, what they share counted once (PSS).
"""

import argparse
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from measure import PYTHON, machine, tree_bytes

RATE_HZ, CHANNELS, FRAME_BYTES = 48_000, 2, 4
SAMPLE_SECONDS = 2.0
LINES = 12


def write_recording(path: Path, hours: float) -> None:
    """Writes the recording."""
    frames = round(hours * 3600) * RATE_HZ
    size = frames * FRAME_BYTES
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, CHANNELS, RATE_HZ, RATE_HZ * FRAME_BYTES, FRAME_BYTES, 16)
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, 72 + size, size, frames, 0)
    header = struct.pack("<4sI4s", b"RF64", 2**32 - 1, b"WAVE") + sizes + form + struct.pack("<4sI", b"data", 2**32 - 1)
    tone = np.round(8_000 * np.sin(2 * np.pi * 700 * np.arange(RATE_HZ) / RATE_HZ)).astype("<i2")
    with path.open("wb") as file:
        file.write(header)
        for minute in range(frames // RATE_HZ // 60):
            file.seek(len(header) + minute * 60 * RATE_HZ * FRAME_BYTES)
            file.write(np.repeat(tone, CHANNELS).tobytes())
        file.truncate(len(header) + size)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, metavar="RUN", help="run folder whose model labels")
    parser.add_argument(
        "--output", type=Path, default=Path("/tmp/soundmill-long"), help="folder of the files (%(default)s)"
    )
    parser.add_argument("--hours", type=float, default=24.0, help="length of the recording (%(default)s)")
    parser.add_argument("--workers", default="2", help="processes (%(default)s)")
    parser.add_argument("--hop-seconds", help="from a window to the next")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    recording, labels = options.output / "long.wav", options.output / "labels.csv"
    where = machine("numpy", "soundfile", "apache-beam")
    write_recording(recording, options.hours)
    command = [PYTHON, "-m", "pipelines.score", "--model", options.model, "--input", recording, "--output", labels]
    command += ["--overwrite", "--workers", options.workers]
    command += ["--hop-seconds", options.hop_seconds] if options.hop_seconds else []
    samples: list[tuple[float, int]] = []
    started = time.monotonic()
    with subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        while process.poll() is None:
            samples.append((time.monotonic() - started, tree_bytes(process.pid)))
            time.sleep(SAMPLE_SECONDS)
        said = process.stdout.read() if process.stdout else ""
    recording.unlink()
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with exit code {process.returncode}")
    print(f"{where}.\n\n{options.hours:g} hours, {options.workers} workers. {said.strip()}\n")
    print("| seconds | memory | most until then |\n|---|---|---|")
    for index in sorted({round(part * (len(samples) - 1) / LINES) for part in range(1, LINES + 1)}):
        most = max(memory for _, memory in samples[: index + 1])
        print(f"| {samples[index][0]:,.0f} | {samples[index][1] / 2**20:,.0f} MiB | {most / 2**20:,.0f} MiB |")


if __name__ == "__main__":
    main()
