"""Measures scoring against Keras' predict in memory and prints a table of ratios: python benchmarks/score.py.

Scoring is run as a user runs it, as a whole process: it lists, decodes, computes features, asks the network and writes
the CSV. Of Keras only `predict` is timed, with its features loaded and its network warm. The network is trained for one
epoch on the real clips: how well it labels changes nothing in how long it takes.
"""

import shutil
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
    print(f"1 worker and 2 workers write {same}.")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
