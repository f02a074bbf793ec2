"""A network with its front end as a TensorFlow SavedModel: from waveforms or a WAV file to probabilities.

Where the front end runs a network of its own, which TensorFlow may not be able to run, it is the head alone: from
features to probabilities, with a description of what goes before it.
"""

import json
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import FrontEnd
from features.io.atomic import write_file
from features.io.filesystem import Location
from model.formats.tf_front_end import compute_features, read_waveform
from model.inference.artifact import Artifact

FORMAT_NAME = "soundmill-export"
FORMAT_VERSION = 2  # 1 had no temperature and no thresholds
# Where a SavedModel keeps what `describe` returns.
DESCRIPTION_ASSET = "assets/soundmill.json"


class HeadModel(tf.Module):
    """A network with its class names: what a SavedModel is made of that takes features.

    It is called with features, float32 of shape (clips, *spec.shape), and returns a dict of `predictions` (the
    network's output, float32 of shape (clips, classes)), `probabilities` (the same shape), `class_ids` (int64 of shape
    (clips,)) and `class_names` (strings of shape (clips,)).

    A clip that holds a number that is not finite is what soundmill itself rejects: its predictions and probabilities
    are NaN, its class id is -1, and its class name is empty.
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
    def __call__(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
        """Labels features, float32 of shape (clips, *spec.shape)."""
        clips, features = _at_least_one(features)
        return self._labels(features, _is_finite(features), clips)

    def _labels(self, features: tf.Tensor, usable: tf.Tensor, clips: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns what a call does for the first clips of some, of which each is usable or not."""
        usable = usable[:clips]  # (clips,)
        predictions = self._predict(features[..., tf.newaxis])[:clips]
        predictions = tf.where(usable[:, tf.newaxis], predictions, math.nan)
        class_ids = tf.argmax(predictions, axis=-1)  # of NaN, 0
        class_names = tf.gather(tf.constant(self._classes), class_ids)
        return {
            "predictions": predictions,
            "probabilities": self._outputs.in_tensorflow(predictions),
            "class_ids": tf.where(usable, class_ids, -1),
            "class_names": tf.where(usable, class_names, ""),
        }

    def _signatures(self) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
        """Returns the functions of the SavedModel: `serving_default` takes features."""
        features = tf.TensorSpec((None, *self._spec.shape), tf.float32, name="features")
        return {"serving_default": self.__call__.get_concrete_function(features)}

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


class WaveformModel(HeadModel):
    """A network with its front end and class names.

    It is called with waveforms or with the path of a WAV file, which is a batch of one clip, and returns what a
    `HeadModel` does. A clip whose samples are not finite is rejected as one whose features are not.
    """

    @tf.function(autograph=False)
    def __call__(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        """Labels waveforms, float32 of shape (clips, samples), or a WAV file, a string of shape ()."""
        if audio.dtype == tf.string:
            audio = read_waveform(audio, self._spec)[tf.newaxis]  # (1, samples)
        clips, audio = _at_least_one(audio)
        features = compute_features(audio, self._spec)
        return self._labels(features, _is_finite(audio) & _is_finite(features), clips)

    def _signatures(self) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
        """Returns the functions of the SavedModel: `serving_default` takes waveforms, `from_path` the path of a WAV."""
        waveforms = tf.TensorSpec((None, self._spec.clip_samples), tf.float32, name="waveforms")
        path = tf.TensorSpec((), tf.string, name="path")
        return {
            "serving_default": self.__call__.get_concrete_function(waveforms),
            "from_path": self.__call__.get_concrete_function(path),
        }


class LoadedHead:
    """A SavedModel of a `HeadModel` loaded again, behind the front end that goes before it."""

    def __init__(self, folder: Path, spec: FeatureSpec, networks: Location | None) -> None:
        """Loads the model of a folder.

        Args:
            folder: of the SavedModel.
            spec: the front end.
            networks: folder with the network that it runs.
        """
        self._loaded = tf.saved_model.load(str(folder))
        self._front_end = FrontEnd(spec, networks)

    def probabilities(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the probability of each class: (clips, samples) to (clips, classes)."""
        spec = self._front_end.spec
        features = np.empty((len(waveforms), *spec.shape), spec.storage_dtype)
        self._front_end.compute(waveforms, features)
        outputs = self._loaded.signatures["serving_default"](features=tf.constant(features, tf.float32))
        result: NDArray[np.float32] = outputs["probabilities"].numpy()
        return result


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


def _at_least_one(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns how many clips a batch has, and the batch; an empty one gets a clip of zeros, to be dropped again.

    Not every operation of a network takes an empty batch.
    """
    clips = tf.shape(batch)[0]
    missing = tf.cast(tf.equal(clips, 0), tf.int32)
    return clips, tf.pad(batch, [[0, missing], *[[0, 0]] * (len(batch.shape) - 1)])


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


def before_head(spec: FeatureSpec) -> list[str]:
    """Returns what becomes of a clip before the head has it, a sentence a step, of a front end that runs a network."""
    length = "A clip keeps its length."
    if spec.clip_seconds is not None:
        length = (f"A clip of {spec.clip_seconds:g} s is taken, {spec.clip_samples:,} samples: of a longer one its "
                  f"{spec.crop}, a shorter one gets zeros at its end.")  # fmt: skip
    output = f"the tensor {spec.network_output!r}" if spec.network_output else "its only output"
    pooled = {None: "All of them are features, in their order.", "mean": "The features are their mean.",
              "max": "The features are the largest of each value."}  # fmt: skip
    steps = [
        f"A recording becomes one channel ({spec.channels}) at {spec.sample_rate_hz:,} Hz, by soxr "
        f"({spec.resample_quality}).",
        length,
        f"Windows of {spec.window_samples:,} samples begin every {spec.hop_samples:,} samples; the last one gets zeros "
        "at its end.",
        f"The network takes each window, and {output} has {spec.embedding_size:,} values of it. Its file, of the form "
        f"{spec.network_format}, is {spec.network_name} in the folder networks of the run's model, named by its "
        "SHA-256.",
        pooled[spec.pool],
    ]
    if spec.input_scale is not None:
        steps.insert(3, f"Samples, full scale at 1, are multiplied by {spec.input_scale:g}.")
    return [*steps, f"The type of features is {spec.storage_dtype}."]


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
        **({} if artifact.spec.network_name is None else {"before": before_head(artifact.spec)}),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
