"""TensorBoard's logs, `RUN/logs`: event files that this project writes itself, without TensorFlow.

`train` and `validation` hold the figures of the epochs, as Keras' callback names them, so that TensorBoard draws both
in one chart; `run` holds all else. The model lies beside them, by hard links where the disk can: an event file has
no room for files.
"""

import os
import shutil
import socket
import struct
import time
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c

from features.io.tfrecord import masked_crc32c
from model.tracking.tracker import Beginning, Media, Outcome

FOLDER = "logs"
_MODEL = "model"
_MARKDOWN_INDENT = "    "  # of text that stands as it is


class TensorBoardLogs:
    """See `Tracker`."""

    def begin(self, beginning: Beginning, key: str | None) -> str | None:
        """Opens new event files; TensorBoard reads those of a folder one after another."""
        from tensorboard.plugins.hparams import summary_v2

        self._folder = beginning.run / FOLDER
        self._training, self._validation = EventFile(self._folder / "train"), EventFile(self._folder / "validation")
        self._run = EventFile(self._folder / "run")
        self._epoch = 0
        self._run.add(0, summary_v2.hparams_pb(beginning.parameters, trial_id=beginning.name))
        self.text("parameters.txt", "".join(f"{name}: {value}\n" for name, value in beginning.parameters.items()))
        return None

    def epoch(self, number: int, figures: dict[str, float]) -> None:
        """Adds a point to each curve."""
        self._epoch = number
        for name, value in figures.items():
            file, plain = (self._validation, name[4:]) if name.startswith("val_") else (self._training, name)
            file.add(number, _scalar(f"epoch_{plain}", value))
        self._training.flush()
        self._validation.flush()

    def text(self, name: str, text: str) -> None:
        """Adds a text, in Markdown one that stands as it is."""
        indented = "".join(f"{_MARKDOWN_INDENT}{line}\n" for line in text.splitlines())
        self._run.add(self._epoch, _text(name, indented))
        self._run.flush()

    def show(self, outcome: Outcome) -> None:
        """Adds pictures, sounds and texts, and lays the model beside them."""
        for name, figure in outcome.figures.items():
            if isinstance(figure, int | float) and not isinstance(figure, bool):
                self._run.add(self._epoch, _scalar(name, figure))
        for picture in outcome.pictures:
            self._run.add(self._epoch, _picture(picture))
        for sound in outcome.sounds:
            self._run.add(self._epoch, _sound(sound))
        for name, text in outcome.texts.items():
            self.text(name, text)
        model = self._folder / _MODEL
        if model.exists():  # of fewer epochs
            shutil.rmtree(model)
        shutil.copytree(outcome.model, model, copy_function=_link)
        names = sorted(str(path.relative_to(model)) for path in model.rglob("*") if path.is_file())
        self.text("model.txt", f"in {model}:\n" + "".join(f"{name}\n" for name in names))

    def end(self, how: str) -> None:
        """Closes the event files."""
        self.text("end.txt", how)
        for file in (self._training, self._validation, self._run):
            file.close()


class EventFile:
    """A file of TFRecords, each a `tensorboard.compat.proto.event_pb2.Event`; made when the first is added."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder, which TensorBoard shows as one run."""
        self._folder = folder
        self._file: BinaryIO | None = None

    def add(self, step: int, summary: Any) -> None:
        """Adds a summary of a step."""
        from tensorboard.compat.proto.event_pb2 import Event

        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            host, process = socket.gethostname(), f"{os.getpid()}.{time.time_ns() % 1_000_000_000}"
            name = f"events.out.tfevents.{int(time.time()):010d}.{host}.{process}.v2"
            self._file = open(self._folder / name, "xb")  # noqa: SIM115 - `close` closes it
            self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def flush(self) -> None:
        """Hands what was added to the system."""
        if self._file:
            self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        if self._file:
            self._file.close()

    def _write(self, event: Any) -> None:
        record = event.SerializeToString()
        length = struct.pack("<Q", len(record))
        crcs = [struct.pack("<I", masked_crc32c(google_crc32c.value(part))) for part in (length, record)]
        if self._file:
            self._file.write(length + crcs[0] + record + crcs[1])


def _scalar(name: str, value: float) -> Any:
    from tensorboard.compat.proto import types_pb2
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.plugins.scalar.metadata import create_summary_metadata

    tensor = TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[value])
    return _summary(name, create_summary_metadata(name, ""), tensor)


def _text(name: str, text: str) -> Any:
    from tensorboard.plugins.text.metadata import create_summary_metadata

    return _summary(name, create_summary_metadata(name, ""), _strings([text.encode()], []))


def _picture(picture: Media) -> Any:
    from PIL import Image
    from tensorboard.plugins.image.metadata import create_summary_metadata

    content = picture.path.read_bytes()
    with Image.open(picture.path) as image:
        size = [str(side).encode() for side in image.size]
    metadata = create_summary_metadata(picture.name, picture.caption, converted_to_tensor=False)
    # A tag is of one kind for good: an example has one as a picture and another as a sound.
    return _summary(f"pictures/{picture.name}", metadata, _strings([*size, content], [3]))


def _sound(sound: Media) -> Any:
    from tensorboard.plugins.audio.metadata import Encoding, create_summary_metadata

    metadata = create_summary_metadata(sound.name, sound.caption, Encoding.Value("WAV"), converted_to_tensor=False)
    return _summary(
        f"sounds/{sound.name}", metadata, _strings([sound.path.read_bytes(), sound.caption.encode()], [1, 2])
    )


def _strings(values: list[bytes], shape: list[int]) -> Any:
    from tensorboard.compat.proto import types_pb2
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

    sides = TensorShapeProto(dim=[TensorShapeProto.Dim(size=side) for side in shape])
    return TensorProto(dtype=types_pb2.DT_STRING, string_val=values, tensor_shape=sides)


def _summary(tag: str, metadata: Any, tensor: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a disk without hard links
        shutil.copy2(source, target)
