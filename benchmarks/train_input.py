"""Measures what it costs to stream a training from shards, and prints tables: python benchmarks/train_input.py.

Four things are measured, each in turns: the CPU time of the first pass of a process, over memory that is new to it,
and of those after it, with another checkout's (`--before`) beside them; what a pass from shards takes more than one
from memory, of an epoch of the default network; a pass over shuffled batches with nothing trained, from either format
and from memory, beside tf.data's own reader of the same TFRecord files; and epochs of `tutorial-cnn` from shards and
from memory. The last are in CPU seconds, since the clock of a shared machine says little. Files stand in the page
cache. The first epoch of each training is not counted: more is read ahead in it than in those that follow.
"""

import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from clips import benchmark_parser, find_originals, made
from measure import PYTHON, machine, run, spread

from features.store.layout import FORMATS, Layout
from features.store.manifest import load_manifest
from model.inference.tensorflow_setup import load_tensorflow

HERE = Path(__file__).parents[1]
FIT, PASSES = (Path(__file__).with_name(name) for name in ("fit.py", "input_passes.py"))
PACKAGES = ("numpy", "pyarrow", "tensorflow", "keras")
BATCH_CLIPS, EPOCHS = 64, 3


def seconds_of(batches: Iterable) -> float:
    """Returns how long a pass takes."""
    started = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - started


def tfdata(folder: Path):
    """Returns tf.data's way of reading the TFRecord shards of a set: parsed, decoded, shuffled, in batches."""
    import tensorflow as tf

    manifest = load_manifest(folder)
    names = [str(Layout(folder, "tfrecord").shard(shard.name)) for shard in manifest.shards(("training",))]
    columns = {"features": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.string)}

    def parse(record):
        row = tf.io.parse_single_example(record, columns)
        return tf.reshape(tf.io.decode_raw(row["features"], tf.float32), (*manifest.spec.shape, 1)), row["label"]

    dataset = tf.data.TFRecordDataset(names, num_parallel_reads=tf.data.AUTOTUNE)
    dataset = dataset.map(parse, num_parallel_calls=tf.data.AUTOTUNE).shuffle(4096, seed=0)
    return dataset.batch(BATCH_CLIPS).prefetch(2)


def reading(sets: dict[str, Path], turns: int) -> str:
    """Compares passes over the training clips."""
    from model.training.rows import Rows, batches

    def rows(folder: Path, in_memory: bool = False) -> Rows:
        manifest = load_manifest(folder)
        return Rows(folder, manifest, ("training",), manifest.classes, in_memory)

    # As a training does, all passes share one object with the memory that it reads into.
    streamed = {name: rows(folder) for name, folder in sets.items()}
    number = len(streamed["tfrecord"])
    memory = rows(sets["tfrecord"], in_memory=True)
    passes: dict[str, Callable[[int], Iterable]] = {
        **{f"soundmill, {name}": lambda turn, kept=kept: batches(kept, BATCH_CLIPS, seed=0, epoch=turn)
           for name, kept in streamed.items()},
        "soundmill, in memory": lambda turn: batches(memory, BATCH_CLIPS, seed=0, epoch=turn),
        "tf.data on the same TFRecord files": lambda turn: tfdata(sets["tfrecord"]),
    }  # fmt: skip
    rates: dict[str, list[float]] = {name: [] for name in passes}
    seconds_of(passes["soundmill, in memory"](0))  # which reads it
    for turn in range(turns):
        for name, start in passes.items():
            rates[name].append(number / seconds_of(start(turn)))
    last = rates["tf.data on the same TFRecord files"]
    lines = [f"| {name} | {number:,} | {spread(values, 0)} | "
             f"{spread([one / other for one, other in zip(values, last, strict=True)])} |"
             for name, values in rates.items()]  # fmt: skip
    header = "| a shuffled pass, batches of 64 | clips | clips/s (median, least to most) | times tf.data |"
    return "\n".join([header, "|---|---|---|---|", *lines])


def in_processes(sets: dict[str, Path], turns: int, trees: dict[str, Path]) -> str:
    """Compares the first pass of a process with the others, of this checkout and of another."""
    taken: dict[tuple[str, str], list[list[float]]] = {(tree, name): [] for name in sets for tree in trees}
    for _ in range(turns):
        for (tree, name), passes in taken.items():
            passes.append(cpu_of_passes(trees[tree], sets[name]))
    clips = load_manifest(sets["tfrecord"]).rows(["training"])
    lines = ["| CPU µs a clip (median, least to most) | first pass | later passes |", "|---|---|---|"]
    for (tree, name), passes in taken.items():
        first, later = ([one[0] for one in passes], [statistics.median(one[1:]) for one in passes])
        cells = [spread([seconds / clips * 1e6 for seconds in part], 0) for part in (first, later)]
        lines.append(f"| {name}{tree} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cpu_of_passes(tree: Path, folder: Path, *options: str) -> list[float]:
    """Returns the CPU seconds of each pass of a process that runs a checkout."""
    command = ["env", f"PYTHONPATH={tree}", PYTHON, str(PASSES), str(folder), *options]
    return [float(text) for text in run(command)[3].split()]


def share(folder: Path, work: Path, turns: int) -> str:
    """Returns what a pass from shards takes more than one from memory, of an epoch of the default network."""
    shares, taken = [], []
    for turn in range(turns):
        shards, memory = (statistics.median(cpu_of_passes(HERE, folder, *options)[1:]) for options in ((), ("memory",)))
        epoch = float(run([PYTHON, str(FIT), "soundmill", str(folder), str(work / f"run-{turn}"), "--epochs", "2"])[3]
                      .split()[-1])  # fmt: skip
        shares.append(100 * (shards - memory) / epoch)
        taken.append((shards, memory, epoch))
    clips = load_manifest(folder).rows(["training"])
    cells = [spread([seconds / clips * 1e6 for seconds in part], 0) for part in zip(*taken, strict=True)]
    header = "| CPU µs a clip: a pass from shards | from memory | an epoch of the default network | difference, % |"
    return f"{header}\n|---|---|---|---|\n| {' | '.join([*cells, spread(shares)])} |"


def training(sets: dict[str, Path], turns: int) -> str:
    """Compares the CPU seconds of epochs from shards with those from memory."""
    import keras

    from model.networks.builder import build
    from model.networks.registry import network
    from model.training.dataset import training_dataset
    from model.training.optimization import compile_model
    from model.training.rows import Rows, steps
    from model.training.settings import Schedule

    folder = sets["tfrecord"]
    manifest = load_manifest(folder)
    chosen = network("tutorial-cnn")
    model = build(chosen, manifest.spec.shape, len(manifest.classes), manifest.statistics["training"])
    taken: dict[bool, list[float]] = {True: [], False: []}
    rows = {in_memory: Rows(folder, manifest, ("training",), manifest.classes, in_memory) for in_memory in taken}
    number = len(rows[True])
    compile_model(model, chosen, Schedule(), steps(rows[True], BATCH_CLIPS), soft_targets=False)

    def epochs(in_memory: bool, first: int) -> float:
        ends: list[float] = []
        dataset = training_dataset(rows[in_memory], BATCH_CLIPS, seed=0, first_epoch=first)
        noted = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.process_time()))
        model.fit(dataset, steps_per_epoch=steps(rows[in_memory], BATCH_CLIPS), epochs=1 + EPOCHS, verbose=0,
                  callbacks=[noted])  # fmt: skip
        return (ends[-1] - ends[0]) / EPOCHS

    for turn in range(turns):
        for in_memory in (True, False) if turn % 2 else (False, True):
            taken[in_memory].append(epochs(in_memory, turn * EPOCHS))
            print(f"turn {turn + 1}: {'memory' if in_memory else 'shards'}: {taken[in_memory][-1]:.2f} CPU s an epoch",
                  file=sys.stderr, flush=True)  # fmt: skip
    more = [one / other for one, other in zip(taken[False], taken[True], strict=True)]
    medians = statistics.median(taken[False]) / statistics.median(taken[True])
    lines = [
        f"| an epoch of tutorial-cnn on {number:,} clips | CPU seconds (median, least to most) |",
        "|---|---|",
        f"| from memory | {spread(taken[True])} |",
        f"| from shards | {spread(taken[False])} |",
        f"| shards / memory, turn by turn | {spread(more, 3)} |",
        f"| shards / memory, of the medians | {medians:.3f} |",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    parser = benchmark_parser(__doc__, clips=10_000, turns=5)
    parser.add_argument("--before", type=Path, metavar="TREE", help="another checkout, as a contender")
    options = parser.parse_args()
    where, output = machine(*PACKAGES), options.output
    output.mkdir(parents=True, exist_ok=True)
    source = made(output / f"clips-{options.clips}", find_originals(options.data), options.clips)
    work = output / "train-input"
    shutil.rmtree(work, ignore_errors=True)
    sets = {name: work / name for name in FORMATS}
    for name, folder in sets.items():
        run([PYTHON, "-m", "pipelines.featurize", "--input", str(source), "--output", str(folder), "--format", name,
             "--preset", "speech-commands"])  # fmt: skip
    default = work / "default"
    run([PYTHON, "-m", "pipelines.featurize", "--input", str(source), "--output", str(default)])
    trees = {"": HERE} if options.before is None else {"": HERE, ", before": options.before.absolute()}
    print(f"{where}.\n")
    print(in_processes(sets, options.turns, trees), share(default, work, options.turns), sep="\n\n", end="\n\n")
    load_tensorflow()
    print(reading(sets, options.turns), training(sets, options.turns), sep="\n\n")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
