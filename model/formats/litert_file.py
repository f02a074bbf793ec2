"""A network with its front end as a file of LiteRT, and what travels at its end."""

import io
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from features.io.atomic import naming_full_disk
from features.runtime.native_messages import ALL_MESSAGES, quiet_stderr
from model.formats.description import describe
from model.formats.int8 import quantize_by
from model.formats.network_function import NetworkFunction
from model.formats.tf_front_end import SCOPE
from model.inference.artifact import Artifact

DESCRIPTION_ENTRY, LABELS_ENTRY = "soundmill.json", "labels.txt"
"""Files in the ZIP archive at the end of a file of LiteRT."""
_ANY_TIME = (1980, 1, 1, 0, 0, 0)  # the first that ZIP knows: the same export has the same bytes


def convert_function(artifact: Artifact) -> bytes:
    """Returns a network with its front end as a flat buffer, with a free number of clips of one at least."""
    function = NetworkFunction(artifact)
    serve = tf.function(function.label, input_signature=[function.input], autograph=False)
    with tempfile.TemporaryDirectory() as folder, quiet_stderr(ALL_MESSAGES):
        with naming_full_disk(folder):
            tf.saved_model.save(function, folder, signatures=serve.get_concrete_function())
        content: bytes = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    return content


def with_description(content: bytes, artifact: Artifact) -> bytes:
    """Returns a flat buffer with `soundmill.json` and `labels.txt` behind it.

    They are an archive at the end of the file, as TensorFlow Lite Metadata has associated files: what reads flat
    buffers sees nothing of it, and what reads ZIP archives sees nothing else.
    """
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(zipfile.ZipInfo(DESCRIPTION_ENTRY, _ANY_TIME), describe(artifact))
        archive.writestr(zipfile.ZipInfo(LABELS_ENTRY, _ANY_TIME), "".join(f"{name}\n" for name in artifact.classes))
    return file.getvalue()


def write_litert(path: Path, artifact: Artifact, batches: Iterable[NDArray[np.float32]] | None = None) -> None:
    """Writes the file of LiteRT.

    Args:
        path: of the file.
        artifact: the network.
        batches: what it takes, to quantize the network, and not its front end, to int8 by; None for float32.

    Raises:
        UsageError: nothing of the network can be quantized.
    """
    content = convert_function(artifact)
    if batches is not None:
        content = quantize_by(content, batches, in_float=SCOPE)
    with naming_full_disk(path):
        path.write_bytes(with_description(content, artifact))
