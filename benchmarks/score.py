"""Measures scoring against Keras' predict in memory and prints a table of ratios: python benchmarks/score.py.

Scoring is run as a user runs it, as a whole process: it lists, decodes, computes features, asks the network and writes
the CSV. Of Keras only `predict` is timed, with its features loaded and its network warm. The network is trained for one
epoch on the real clips: how well it labels changes nothing in how long it takes.
"""

import shutil
import time
from pathlib import Path

import numpy as np
from accuracy import PRESETS
from clips import WORDS, benchmark_parser, find_originals, made
from measure import PYTHON, Contender, alternate, machine, peer, run, table

from model.inference.executor import EXECUTORS
from model.networks.registry import NETWORKS

PACKAGES = ("numpy", "apache-beam", "tensorflow", "keras", *EXECUTORS.values())
WITH_LOGITS = [name for name, network in NETWORKS.items() if network.returns_logits]
NEAR_TIE = 2e-3
ATTENTIVE = 3_000
IN_MEMORY = 20_000  # clips whose tensors Keras is given: it holds them three times, 200 kB each


def against_keras(features: Path, run_folder: Path) -> str:
    """Prints how far executors are from Keras on features of real clips."""
    from features.store.manifest import load_manifest
    from features.store.shards import read_shard
    from model.inference.artifact import load_artifact, read_description, read_litert
    from model.inference.executor import Executor

    manifest = load_manifest(features)
    shards = manifest.all_shards
    rows = [read_shard(manifest.layout(features), shard, manifest.spec).features for shard in shards]
    batch = np.concatenate(rows)[:ATTENTIVE]
    artifact = load_artifact(run_folder)
    description = read_description(run_folder)
    logits = artifact.network.predict(batch[..., None], batch_size=256, verbose=0)
    outputs = logits / description.calibration.temperature
    expected = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    lines = []
    for name in EXECUTORS:
        found = Executor(read_litert(run_folder, description), description, name).probabilities(batch)
        other = found.argmax(axis=1) != expected.argmax(axis=1)
        top = np.sort(expected, axis=1)[:, -2:]
        ties = other & (top[:, 1] - top[:, 0] < NEAR_TIE)
        largest = np.abs(found - expected).max()
        lines.append(
            f"{name} against Keras on {len(batch):,} clips: probabilities differ by {largest:.1e} at most, "
            f"{other.sum()} labels differ, {ties.sum()} of them near ties"
        )
    return "\n".join(lines)


def by_stage(clips: Path, run_folder: Path, executor: str) -> str:
    """Prints how long one process takes for each stage of labelling, without Beam, its start and the CSV."""
    from features.audio.recording import open_recording
    from features.frontend.spectrogram import FrontEnd, block_clips
    from features.frontend.windows import window_waveforms, windowing_of
    from features.sources.paths import clip_file
    from model.inference.artifact import read_description, read_litert
    from model.inference.executor import Executor
    from model.scoring.label_windows import label_windows
    from model.scoring.plan import plan_batches

    description = read_description(run_folder)
    spec = description.spec
    network = Executor(read_litert(run_folder, description), description, executor)
    front_end, most = FrontEnd(spec), block_clips(spec)
    paths = sorted(str(path.relative_to(clips)) for path in clips.rglob("*.wav"))[:ATTENTIVE]
    seconds = dict.fromkeys(("headers", "decoding", "features", "network", "all but headers"), 0.0)
    started = time.perf_counter()
    windowing = windowing_of(spec)
    batches = list(plan_batches(str(clips), paths, spec, windowing).batches())
    seconds["headers"] = time.perf_counter() - started
    label_windows(network, str(clips), batches[0], windowing)  # a first time takes longer
    windows = 0
    for batch in batches:
        times = [time.perf_counter()]
        waveforms = []
        for unit in batch:
            with open_recording(clip_file(str(clips), unit.path), whole=True) as recording:
                found = window_waveforms(recording.source, recording.probe(), spec, unit.first_window, unit.num_windows)
                waveforms += [window.waveform for window in found]
        times.append(time.perf_counter())
        features = np.empty((len(waveforms), *spec.shape), dtype=spec.storage_dtype)
        for first in range(0, len(waveforms), most):
            front_end.compute(waveforms[first : first + most], features[first : first + most])
        times.append(time.perf_counter())
        network.probabilities(features)
        times.append(time.perf_counter())
        label_windows(network, str(clips), batch, windowing)
        times.append(time.perf_counter())
        for stage, took in zip(list(seconds)[1:], np.diff(times), strict=True):
            seconds[stage] += float(took)
        windows += len(waveforms)
    figures = ", ".join(f"{stage} {took / windows * 1e6:,.0f}" for stage, took in seconds.items())
    return f"{executor}, one process, microseconds a clip: {figures}"


def main() -> None:
    """Measures and prints."""
    parser = benchmark_parser(__doc__, clips=100_000, turns=3)
    parser.add_argument("--network", choices=WITH_LOGITS, default="residual", help="(%(default)s)")
    options = parser.parse_args()
    where, output = machine(*PACKAGES), options.output
    output.mkdir(parents=True, exist_ok=True)
    in_memory = min(options.clips, IN_MEMORY)
    source, few = (
        made(output / f"clips-{count}", find_originals(options.data), count) for count in (options.clips, in_memory)
    )
    work = output / "score"
    shutil.rmtree(work, ignore_errors=True)
    real, tensors, network = work / "real", work / "tensors", work / "run"
    for clips, features in ((options.data / WORDS, real), (few, tensors)):
        run([PYTHON, "-m", "pipelines.featurize", "--input", str(clips), "--output", str(features),
             "--preset", PRESETS[options.network]])  # fmt: skip
    run([PYTHON, "-m", "model.train", "--features", str(real), "--output", str(network), "--epochs", "1",
         "--network", options.network])  # fmt: skip

    def scoring(clips: Path, labels: Path, *more: str) -> list[str]:
        named = {"--model": network, "--input": clips, "--output": labels}
        return [PYTHON, "-m", "pipelines.score", *(str(part) for pair in named.items() for part in pair), *more]

    contenders = [
        Contender(
            f"soundmill score, {name}",
            scoring(source, work / f"{name}.csv", "--executor", name),
            options.clips,
            work / f"{name}.csv",
        )
        for name in EXECUTORS
    ]
    keras = Contender("Keras predict in memory", peer("keras-predict", tensors, network), in_memory, reported=True)
    contenders.append(keras)
    alternate(contenders, options.turns)
    text = table(contenders, [keras])
    outputs = []
    for workers in (1, 2):
        labels = work / f"workers-{workers}.csv"
        run(scoring(few, labels, "--workers", str(workers)))
        outputs.append(labels.read_bytes())
    same = "the same bytes" if outputs[0] == outputs[1] else "DIFFERENT bytes"
    print(f"{options.network}. {where}.\n\n{text}\n")
    print(against_keras(real, network))
    for name in EXECUTORS:
        print(by_stage(few, network, name))
    print(f"1 worker and 2 workers write {same}.")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
