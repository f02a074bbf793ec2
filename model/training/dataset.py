"""The rows of shards as data sets of TensorFlow."""

import contextlib
import itertools
from collections.abc import Callable, Iterator

import tensorflow as tf

from features.errors import SoundmillError
from model.training.augment import Augmenter, Changed, batch_generator
from model.training.memory import keep_freed_memory
from model.training.rows import Batch, Rows, batches, steps

Dataset = tf.data.Dataset


def training_dataset(
    rows: Rows, batch_size: int, seed: int, first_epoch: int = 0, augmenter: Augmenter | None = None
) -> tf.data.Dataset:
    """Returns an endless data set of shuffled epochs; each has `steps(rows, batch_size)` batches.

    Args:
        rows: to learn from.
        batch_size: rows a batch.
        seed: of the order and of the augmentation.
        first_epoch: number of the epoch to begin with.
        augmenter: changes each batch, whose targets become shares of the classes, and whose rows get weights.
    """

    def epochs() -> Iterator[Batch | Changed]:
        for epoch in itertools.count(first_epoch):
            for number, (features, ids) in enumerate(batches(rows, batch_size, seed, epoch)):
                if augmenter is None:
                    yield features, ids
                else:
                    yield augmenter.change(features, ids, batch_generator(seed, epoch, number))

    return _dataset(epochs, rows, augmenter is not None).apply(
        tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    )


def ordered_dataset(rows: Rows, batch_size: int) -> tf.data.Dataset:
    """Returns a data set of all rows in the order of the manifest."""
    # What is not shuffled takes no more than a shard at a time.
    dataset = _dataset(lambda: batches(rows, batch_size, buffer_rows=1), rows)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps(rows, batch_size)))


def epoch_dataset(rows: Rows, batch_size: int, seed: int | None) -> tf.data.Dataset:
    """Returns a data set each pass over which is the next epoch; without a seed each has the order of the manifest."""
    epochs = itertools.count()
    dataset = _dataset(lambda: batches(rows, batch_size, seed, next(epochs)), rows)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps(rows, batch_size)))


@contextlib.contextmanager
def own_errors(*rows: Rows) -> Iterator[None]:
    """Raises what ended a data set of these rows as it was, where TensorFlow raises an error of its own about it."""
    try:
        yield
    except tf.errors.OpError:
        failure = next((part.failure for part in rows if part.failure), None)
        if failure is None:
            raise
        raise failure from None


def _dataset(
    generator: Callable[[], Iterator[Batch | Changed]], rows: Rows, is_changed: bool = False
) -> tf.data.Dataset:
    def remembered() -> Iterator[Batch | Changed]:
        keep_freed_memory()  # the operation that runs this is there by now, and with it what TensorFlow sets
        try:
            yield from generator()
        except SoundmillError as error:
            rows.failure = error
            raise

    features = tf.TensorSpec((None, *rows.manifest.spec.shape, 1), tf.float32)
    targets = [tf.TensorSpec((None,), tf.int32)]
    if is_changed:
        targets = [tf.TensorSpec((None, len(rows.classes)), tf.float32), tf.TensorSpec((None,), tf.float32)]
    dataset = tf.data.Dataset.from_generator(remembered, output_signature=(features, *targets))
    if rows.one_hot and not is_changed:
        dataset = dataset.map(lambda features, ids: (features, tf.one_hot(ids, len(rows.classes))))
    return dataset.prefetch(2)
