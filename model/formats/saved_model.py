"""A network with its front end as a TensorFlow SavedModel: from waveforms or a WAV file to probabilities."""

import json
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from features.io.atomic import write_file
from model.formats.tf_front_end import compute_features, read_waveform
from model.inference.artifact import Artifact

FORMAT_NAME = "soundmill-export"
FORMAT_VERSION = 2  # 1 had no temperature and no thresholds
# Where a SavedModel keeps what `describe` returns.
DESCRIPTION_ASSET = "assets/soundmill.json"


class WaveformModel(tf.Module):
    """A network with its front end and class names: what a SavedModel is made of.

    It is called with waveforms or with the path of a WAV file and returns a dict of `predictions` (the network's
    output, float32 of shape (clips, classes)), `probabilities` (the same shape), `class_ids` (int64 of shape (clips,))
    and `class_names` (strings of shape (clips,)). A path is a batch of one clip.

    A clip that holds a number that is not finite, or whose features do, is what soundmill itself rejects: its
    predictions and probabilities are NaN, its class id is -1, and its class name is empty.
    """

    def __init__(self, artifact: Artifact) -> None:
        """Keeps the network, whose weights are saved with the module."""
        super().__init__(name="soundmill")
        self._description = describe(artifact)
        self._spec = artifact.spec
        self._outputs = artifact.outputs
        self._classes = tuple(artifact.classes)
        # The network stays behind a function, where saving does not see it: its weights would be written twice.
        self._predict: Callable[[tf.Tensor], tf.Tensor] = lambda features: artifact.network(features, training=False)
        self._weights = [weight.value for weight in artifact.network.weights]

    @tf.function(autograph=False)
    def __call__(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        """Labels waveforms, float32 of shape (clips, samples), or a WAV file, a string of shape ()."""
        if audio.dtype == tf.string:
            audio = read_waveform(audio, self._spec)[tf.newaxis]  # (1, samples)
        clips = tf.shape(audio)[0]
        # Not every operation of a network takes an empty batch: it gets a clip of zeros, which is dropped again.
        audio = tf.pad(audio, [[0, tf.cast(tf.equal(clips, 0), tf.int32)], [0, 0]])
        features = compute_features(audio, self._spec)
        predictions = self._predict(features[..., tf.newaxis])[:clips]
        usable = (_is_finite(audio) & _is_finite(features))[:clips]  # (clips,)
        predictions = tf.where(usable[:, tf.newaxis], predictions, math.nan)
        class_ids = tf.argmax(predictions, axis=-1)  # of NaN, 0
        class_names = tf.gather(tf.constant(self._classes), class_ids)
        return {
            "predictions": predictions,
            "probabilities": self._outputs.in_tensorflow(predictions),
            "class_ids": tf.where(usable, class_ids, -1),
            "class_names": tf.where(usable, class_names, ""),
        }

    def save(self, folder: Path) -> None:
        """Writes the SavedModel, with the signatures `serving_default` (waveforms) and `from_path`.

        Its asset, the attribute `description` of what is loaded, is a JSON file: rate, length, classes and the spec.
        """
        waveforms = tf.TensorSpec((None, self._spec.clip_samples), tf.float32, name="waveforms")
        path = tf.TensorSpec((), tf.string, name="path")
        signatures = {
            "serving_default": self.__call__.get_concrete_function(waveforms),
            "from_path": self.__call__.get_concrete_function(path),
        }
        with tempfile.TemporaryDirectory() as scratch:
            description = Path(scratch) / Path(DESCRIPTION_ASSET).name
            write_file(description, self._description)
            self.description = tf.saved_model.Asset(str(description))
            tf.saved_model.save(self, str(folder), signatures)


class LoadedModel:
    """A SavedModel loaded again, as other programs load it."""

    def __init__(self, folder: Path) -> None:
        """Loads the model of a folder."""
        self._loaded = tf.saved_model.load(str(folder))

    def probabilities(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the probability of each class: (clips, samples) to (clips, classes)."""
        outputs = self._loaded.signatures["serving_default"](waveforms=tf.constant(waveforms))
        result: NDArray[np.float32] = outputs["probabilities"].numpy()
        return result

    def file_probabilities(self, path: str) -> NDArray[np.float32]:
        """Returns the probability of each class, (classes,), of a file that `reads_file` allows."""
        outputs = self._loaded.signatures["from_path"](path=tf.constant(os.fsencode(path)))
        result: NDArray[np.float32] = outputs["probabilities"].numpy()[0]
        return result


def _is_finite(values: tf.Tensor) -> tf.Tensor:
    """Returns whether all numbers of each clip are finite: (clips, ...) to (clips,)."""
    return tf.reduce_all(tf.math.is_finite(tf.reshape(values, (tf.shape(values)[0], -1))), axis=1)


def reads_file(path: str) -> bool:
    """Returns whether TensorFlow, which is stricter about headers than soundmill, reads a WAV file."""
    try:
        tf.audio.decode_wav(tf.io.read_file(os.fsencode(path)))
    except tf.errors.OpError:
        return False
    return True


def describe(artifact: Artifact) -> str:
    """Returns what the user of a SavedModel has to know, as JSON."""
    content = {
        "format": FORMAT_NAME,
        "format_version": FORMAT_VERSION,
        "sample_rate_hz": artifact.spec.sample_rate_hz,
        "clip_samples": artifact.spec.clip_samples,
        "classes": artifact.classes,
        "network": artifact.network_name,
        "returns_logits": artifact.returns_logits,
        **artifact.calibration.to_dict(),
        "network_sha256": artifact.digest,
        "spec": artifact.spec.to_dict(),
        "fingerprint": artifact.spec.fingerprint,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
