"""One training as a process: python benchmarks/fit.py soundmill|keras FEATURES RUN. benchmarks/training.py runs it.

It prints the seconds and the CPU seconds of all epochs but the first, in which graphs are made and files are read.
"""

import argparse
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import soundmill
from features.store.manifest import load_manifest
from model.inference.tensorflow_setup import load_tensorflow
from model.networks.registry import network
from model.training.precision import FLOAT32, MIXED_BFLOAT16, building_in, check_precision, with_float32_outputs
from model.training.recipes import choose_settings
from model.training.settings import Settings

if TYPE_CHECKING:
    import keras

Ended = Callable[..., None]


def fit_soundmill(options: argparse.Namespace, settings: Settings, ended: Ended) -> None:
    """Trains as `model.train` does: shards, augmentation, noise, checkpoints, history."""
    from model.training.history import EachEpoch
    from model.training.trainer import train

    given = {name: settings.flat()[name] for name in ("network", "epochs", "batch_size", "precision")}
    train(options.features, options.run, given, watch=EachEpoch(ended))


def fit_keras(options: argparse.Namespace, settings: Settings, ended: Ended) -> None:
    """Trains as people do: the same network by `fit`, all features one array in memory, as they are."""
    import keras

    from model.networks.builder import build
    from model.training.fused_normalization import fused_normalization

    features, manifest = soundmill.open_features(options.features), load_manifest(options.features)
    sets = {name: next(features.batches(name, count)) for name, count in features.partitions.items()}
    chosen, precision = network(settings.network), settings.schedule.precision
    with building_in(precision):
        model = build(chosen, manifest.spec.shape, len(features.classes), manifest.statistics["training"])
    if precision != FLOAT32:
        model = with_float32_outputs(model)
    if options.lanes:
        model = side_by_side(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=chosen.returns_logits)
    model.compile(keras.optimizers.AdamW(1e-3), loss, metrics=["accuracy"], jit_compile=options.xla)
    with fused_normalization(model) if options.fused else contextlib.nullcontext():
        model.fit(
            *sets["training"], batch_size=settings.schedule.batch_size, epochs=settings.schedule.epochs,
            validation_data=sets["validation"], callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=ended)],
            verbose=0,
        )  # fmt: skip


def side_by_side(model: "keras.Model") -> "keras.Model":
    """Returns a network through which the two halves of a batch go at a time, each in one thread.

    An operation on a batch this small divides badly over threads, and two halves are independent of each other but for
    the running means of their batch normalization.
    """
    import keras
    import tensorflow as tf

    class Lanes(keras.Model):
        def train_step(self, data):
            features, ids, weights = keras.utils.unpack_x_y_sample_weight(data)
            half = (tf.shape(features)[0] + 1) // 2
            with tf.GradientTape() as tape:
                halves = [self(features[:half], training=True), self(features[half:], training=True)]
                outputs = tf.concat(halves, 0)
                loss = self.compute_loss(x=features, y=ids, y_pred=outputs, sample_weight=weights, training=True)
            self._loss_tracker.update_state(loss)
            gradients = tape.gradient(loss, self.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
            return self.compute_metrics(features, ids, outputs, weights)

    return Lanes(model.inputs, model.outputs)


WAYS = {"soundmill": fit_soundmill, "keras": fit_keras}


def main() -> None:
    """Trains and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("features", help="a feature set")
    parser.add_argument("run", help="new folder, where soundmill leaves its run")
    parser.add_argument("--epochs", type=int, required=True, help="two at least")
    parser.add_argument("--batch-size", type=int, help="(that of the recipe)")
    parser.add_argument("--precision", choices=(FLOAT32, MIXED_BFLOAT16), help="(that of the recipe)")
    parser.add_argument("--threads", type=int, help="of one operation (what TensorFlow takes)")
    parser.add_argument("--xla", action="store_true", help="compile the steps of Keras by XLA")
    parser.add_argument("--onednn", action="store_true", help="oneDNN's operations for Keras too")
    parser.add_argument("--fused", action="store_true", help="batch normalization of Keras as one operation")
    parser.add_argument("--lanes", action="store_true", help="the halves of a batch of Keras in a thread each")
    options = parser.parse_args()
    if options.way == "soundmill" and (options.xla or options.lanes or options.onednn or options.fused):
        parser.error("--xla, --lanes, --onednn and --fused are of keras")
    given = {name: getattr(options, name) for name in ("epochs", "batch_size", "precision")}
    settings = choose_settings(
        load_manifest(options.features).spec, {name: value for name, value in given.items() if value is not None}
    )
    check_precision(settings.schedule.precision)
    if options.way == "keras" and not options.onednn:
        import tensorflow  # noqa: F401  # as it is by itself
    load_tensorflow_with(1 if options.lanes else options.threads, 2 if options.lanes else None)
    ends: list[tuple[float, float]] = []
    WAYS[options.way](options, settings, lambda *_: ends.append((time.perf_counter(), time.process_time())))
    print(*(last - first for first, last in zip(ends[0], ends[-1], strict=True)))


def load_tensorflow_with(threads: int | None, operations: int | None) -> None:
    """Loads TensorFlow with so many threads for an operation and so many operations at a time; None for its own."""
    import os

    for name, number in (("INTRAOP", threads), ("INTEROP", operations)):
        if number is not None:
            os.environ[f"TF_NUM_{name}_THREADS"] = str(number)
    load_tensorflow()


if __name__ == "__main__":
    main()
