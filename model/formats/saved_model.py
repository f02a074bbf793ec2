"""A network with its front end as a TensorFlow SavedModel: from waveforms or a WAV file to probabilities.

Where the front end runs a network of its own, which TensorFlow may not be able to run, it is the head alone: from
features to probabilities, with a description of what goes before it.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from features.io.atomic import write_file
from model.formats.description import describe
from model.formats.network_function import NetworkFunction
from model.formats.tf_front_end import read_waveform, require_frames
from model.inference.artifact import Artifact

# Where a SavedModel keeps what `model.formats.description.describe` returns.
DESCRIPTION_ASSET = "assets/soundmill.json"


class SavedModel(NetworkFunction):
    """A network with its front end and class names, as a SavedModel has it.

    It is called with what the function takes, or with the path of a WAV file, which is a batch of one clip. To what
    `label` returns it adds `class_names` (strings of shape (clips,)), and class ids are int64. The name of what is
    rejected is empty.
    """

    def __init__(self, artifact: Artifact) -> None:
        """Keeps the network and the names of its classes."""
        super().__init__(artifact, by_fft=True)
        self._classes = tuple(artifact.classes)
        self._description = describe(artifact)

    @tf.function(autograph=False)
    def __call__(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Labels waveforms, float32 of shape (clips, samples), or features, or a WAV file, a string of shape ()."""
        if inputs.dtype == tf.string:
            inputs = read_waveform(inputs, self._spec)[tf.newaxis]  # (1, samples)
        if self._front_end:
            inputs = require_frames(inputs, self._spec)
        labels = self.label_any_number(inputs)
        class_ids = labels["class_ids"]
        names = tf.gather(tf.constant(self._classes), tf.maximum(class_ids, 0))
        return {
            **labels,
            "class_ids": tf.cast(class_ids, tf.int64),
            "class_names": tf.where(class_ids < 0, "", names),
        }

    def _signatures(self) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
        """Returns the functions of the SavedModel: `serving_default`, and `from_path`, which takes that of a WAV."""
        signatures = {"serving_default": self.__call__.get_concrete_function(self.input)}
        if self._front_end:
            path = tf.TensorSpec((), tf.string, name="path")
            signatures["from_path"] = self.__call__.get_concrete_function(path)
        return signatures

    def save(self, folder: Path) -> None:
        """Writes the SavedModel.

        Its asset, the attribute `description` of what is loaded, is a JSON file: rate, length, classes and the spec.
        """
        signatures = self._signatures()
        with tempfile.TemporaryDirectory() as scratch:
            description = Path(scratch) / Path(DESCRIPTION_ASSET).name
            write_file(description, self._description)
            self.description = tf.saved_model.Asset(str(description))
            tf.saved_model.save(self, str(folder), signatures)


def reads_file(path: str) -> bool:
    """Returns whether TensorFlow, which is stricter about headers than soundmill, reads a WAV file."""
    try:
        tf.audio.decode_wav(tf.io.read_file(os.fsencode(path)))
    except tf.errors.OpError:
        return False
    return True
