"""How weights are learnt, with Keras: loss, optimizer, learning rate, and the running average of the weights."""

import contextlib
import math
from collections.abc import Iterator

import keras
from keras import ops

from model.networks.registry import Network
from model.training.settings import Schedule

_MOMENTUM = 0.9
_AVERAGE_PARTS = 7
# Of a training, so much at most is warm-up: a short one would never reach its learning rate.
_WARMUP_SHARE = 0.2
# What is no kernel does not decay (He et al., 2019, "Bag of tricks").
_NO_DECAY = ["gamma", "beta", "bias"]


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of each step: it rises linearly, then is constant or follows half a cosine down to 0.

    The cosine is that of Loshchilov and Hutter (2017) without restarts.
    """

    def __init__(self, schedule: Schedule, steps_per_epoch: int) -> None:
        """Takes the settings and the number of steps of an epoch."""
        super().__init__()
        self._highest, self._is_cosine = schedule.learning_rate, schedule.schedule == "cosine"
        self._warmup = min(schedule.warmup_epochs, schedule.epochs * _WARMUP_SHARE) * steps_per_epoch
        self._steps = max(schedule.epochs * steps_per_epoch - self._warmup, 1)

    def __call__(self, step: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the learning rate of a step, from 0."""
        number = ops.cast(step, "float32")
        risen = ops.minimum((number + 1) / max(self._warmup, 1), 1.0)
        if not self._is_cosine:
            return self._highest * risen
        part = ops.clip((number - self._warmup) / self._steps, 0.0, 1.0)
        return self._highest * risen * (1 + ops.cos(math.pi * part)) / 2


class RecallOfLargestShare(keras.metrics.Recall):
    """The recall where targets may be shares of the classes: a clip has the label with the largest share."""

    def update_state(
        self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor, sample_weight: keras.KerasTensor | None = None
    ) -> None:
        """Counts a batch, (clips, classes); Keras alone would take every share above 0 for a label."""
        is_largest = ops.equal(y_true, ops.max(y_true, axis=-1, keepdims=True))
        super().update_state(ops.logical_and(is_largest, ops.greater(y_true, 0)), y_pred, sample_weight)


def compile_model(
    model: keras.Model, network: Network, schedule: Schedule, steps_per_epoch: int, soft_targets: bool
) -> None:
    """Gives a model the loss of its network, its optimizer, and the metrics that are watched.

    Args:
        model: to be trained.
        network: what it is.
        schedule: how it is trained.
        steps_per_epoch: batches of an epoch.
        soft_targets: whether its targets are shares of the classes and not ids; those of a binary loss always are.
    """
    if network.loss == "binary":
        loss = keras.losses.BinaryCrossentropy(from_logits=network.returns_logits)
        metrics = [keras.metrics.CategoricalAccuracy(name="accuracy"), RecallOfLargestShare(name="recall")]
    elif soft_targets:
        loss = keras.losses.CategoricalCrossentropy(from_logits=network.returns_logits)
        metrics = [keras.metrics.CategoricalAccuracy(name="accuracy")]
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=network.returns_logits)
        metrics = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    model.compile(optimizer=_optimizer(schedule, steps_per_epoch), loss=loss, metrics=metrics)


def average_decay(schedule: Schedule, steps_per_epoch: int) -> float | None:
    """Returns the decay of the running average a step, None for no average.

    An average that looks back over more than a part of a training is of weights that had hardly learnt: of few clips it
    looks back over a seventh of all steps, and not over the steps that its setting says.
    """
    if not schedule.average_decay:
        return None
    return max(0.0, min(schedule.average_decay, 1 - _AVERAGE_PARTS / (schedule.epochs * steps_per_epoch)))


def _optimizer(schedule: Schedule, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    steady = schedule.schedule == "constant" and not schedule.warmup_epochs
    rate = schedule.learning_rate if steady else LearningRate(schedule, steps_per_epoch)
    momentum = average_decay(schedule, steps_per_epoch)
    average = {} if momentum is None else {"use_ema": True, "ema_momentum": momentum}
    if schedule.optimizer == "adam":
        return keras.optimizers.Adam(rate, **average)
    decay = schedule.weight_decay or None
    if schedule.optimizer == "sgd":
        result = keras.optimizers.SGD(rate, momentum=_MOMENTUM, nesterov=True, weight_decay=decay, **average)
    else:
        result = keras.optimizers.AdamW(rate, weight_decay=schedule.weight_decay, **average)
    if schedule.weight_decay:
        result.exclude_from_weight_decay(var_names=_NO_DECAY)
    return result


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Puts the running average of the weights, where the optimizer keeps one, in their place for a while."""
    optimizer = model.optimizer
    if not optimizer.use_ema:
        yield
        return
    pairs = list(zip(model.trainable_variables, optimizer._model_variables_moving_average, strict=True))
    learnt = [variable.numpy() for variable, _ in pairs]
    for variable, average in pairs:
        variable.assign(average)
    try:
        yield
    finally:
        for (variable, _), value in zip(pairs, learnt, strict=True):
            variable.assign(value)


class AverageInTests(keras.callbacks.Callback):
    """Validates the running average of the weights, where there is one, and not the last ones."""

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Puts the average in place."""
        self._average = averaged_weights(self.model)
        self._average.__enter__()

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        """Puts the weights back."""
        self._average.__exit__(None, None, None)
