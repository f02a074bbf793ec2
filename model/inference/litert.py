"""Converts a network to LiteRT, in which form scoring runs it without TensorFlow."""

import re
import tempfile
from typing import TYPE_CHECKING

from features.errors import SoundmillError, UsageError
from features.io.atomic import naming_full_disk
from features.runtime.native_messages import ALL_MESSAGES, quiet_stderr

if TYPE_CHECKING:
    import keras

_MISSING_OPERATION = re.compile(r"'(tf\.\w+)' op is neither")


def convert(network: "keras.Model", shape: tuple[int, ...]) -> bytes:
    """Returns a network as a LiteRT model of one batch shape.

    Args:
        network: from (clips, *shape, 1) to (clips, classes).
        shape: of a clip's features.

    Returns:
        A flat buffer; its input is float32 of shape (BATCH_CLIPS, *shape, 1), its output what the network gives.
    """
    import tensorflow as tf

    module = tf.Module()
    module.weights = [weight.value for weight in network.weights]
    signature = tf.TensorSpec((BATCH_CLIPS, *shape, 1), tf.float32)
    module.serve = tf.function(lambda batch: network(batch, training=False), input_signature=[signature])
    with tempfile.TemporaryDirectory() as folder, quiet_stderr(ALL_MESSAGES):
        with naming_full_disk(folder):
            tf.saved_model.save(module, folder, signatures=module.serve)
        content: bytes = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    return content


def check_convertible(network: "keras.Model", shape: tuple[int, ...]) -> None:
    """Raises `UsageError` where LiteRT lacks an operation of a network: after its training that would be too late."""
    try:
        convert(network, shape)
    except SoundmillError:
        raise
    except Exception as error:  # the converter's own class of exceptions is not public
        missing = sorted(set(_MISSING_OPERATION.findall(str(error))))
        reason = f"it has no operation {', '.join(missing)}" if missing else type(error).__name__
        raise UsageError(
            f"the network {network.name!r} cannot be converted to LiteRT, by which scoring runs it: {reason}; build it "
            "of other operations"
        ) from error


# Windows that a network is given at a time, always.
BATCH_CLIPS = 256
