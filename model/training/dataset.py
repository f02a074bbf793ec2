"""The rows of shards as data sets of TensorFlow."""

import contextlib
import itertools
from collections.abc import Callable, Iterator

import tensorflow as tf

from features.errors import SoundmillError
from model.training.rows import Batch, Rows, batches, steps

Dataset = tf.data.Dataset


def training_dataset(rows: Rows, batch_size: int, seed: int, first_epoch: int = 0) -> tf.data.Dataset:
    """Returns an endless data set of shuffled epochs; each has `steps(rows, batch_size)` batches."""

    def epochs() -> Iterator[Batch]:
        epoch = first_epoch
        while True:
            yield from batches(rows, batch_size, seed, epoch)
            epoch += 1

    return _dataset(epochs, rows).apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


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


def _dataset(generator: Callable[[], Iterator[Batch]], rows: Rows) -> tf.data.Dataset:
    def remembered() -> Iterator[Batch]:
        try:
            yield from generator()
        except SoundmillError as error:
            rows.failure = error
            raise

    signature = (
        tf.TensorSpec((None, *rows.manifest.spec.shape, 1), tf.float32),
        tf.TensorSpec((None,), tf.int32),
    )
    dataset = tf.data.Dataset.from_generator(remembered, output_signature=signature)
    if rows.one_hot:
        dataset = dataset.map(lambda features, ids: (features, tf.one_hot(ids, len(rows.classes))))
    return dataset.prefetch(2)
