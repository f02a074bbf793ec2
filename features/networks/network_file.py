"""Reads the file of a network, or the folder of a SavedModel as one file, and says what it is by its content."""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass

from features.errors import UsageError
from features.io.entry import AnyPath
from features.io.filesystem import Location, absolute, filesystem_of
from features.networks.wire import is_onnx

FORMATS = {"tflite": ".tflite", "onnx": ".onnx", "saved_model": ".zip"}
"""Formats of networks, and the endings of the files in which a feature set and a run keep them."""
_MOST_BYTES = 2**31  # no flat buffer and no protobuf is longer
_TFLITE_MARK = slice(4, 8), b"TFL3"
_ZIP_MARK = b"PK\x03\x04"
_SAVED_MODEL = "saved_model.pb"
# What TensorFlow computes with; beside them lie notes and hashes, which differ between copies of one network.
_SAVED_MODEL_FOLDERS = ("variables/", "assets/")
_EARLIEST_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class NetworkContent:
    """A network as it is kept.

    Attributes:
        content: the bytes of its file.
        format: one of `FORMATS`.
        sha256: of the content, 64 hexadecimal digits.
    """

    content: bytes
    format: str
    sha256: str


def read_network_file(path: AnyPath) -> NetworkContent:
    """Reads a network.

    Args:
        path: of a `.tflite` or `.onnx` file, or of the folder of a SavedModel, which becomes a zip archive: its files
            in the order of their names, not compressed, without their times. Such an archive is read too.

    Raises:
        UsageError: there is no such file, or it is no network; its content counts and not its ending.
    """
    path = absolute(path)
    files = filesystem_of(path)
    if files.is_local and os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise UsageError(f"{path}: a network is a file or a folder, and this is a pipe or a device")
    try:
        if files.status(path).size > _MOST_BYTES:
            raise UsageError(f"{path}: a file of a network has at most 2 GiB")
        content = files.read(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        content = _folder(path)
    except OSError as error:
        raise UsageError(f"{path}: the network cannot be read: {error.strerror or error}") from error
    if content.startswith(_ZIP_MARK):
        content = _archive(path, content)
    place, mark = _TFLITE_MARK
    if content[place] == mark:
        network_format = "tflite"
    elif content.startswith(_ZIP_MARK):
        network_format = "saved_model"
    elif is_onnx(content):
        network_format = "onnx"
    else:
        raise UsageError(
            f"{path}: this is no network that can be run; take a .tflite or .onnx file, or the folder of a SavedModel"
        )
    return NetworkContent(content, network_format, hashlib.sha256(content).hexdigest())


class DamagedNetworkError(UsageError):
    """The file of a network that is kept is not there, or has another content than its name says."""


def read_kept_network(path: Location) -> bytes:
    """Reads the file of a network that a feature set, a run or a job keeps: its name is the SHA-256 of its content.

    Raises:
        DamagedNetworkError: it is missing or damaged; where it lies is for the caller to say, as is the way out.
    """
    try:
        content = filesystem_of(path).read(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedNetworkError("the file of the network is missing") from error
    except OSError as error:
        raise DamagedNetworkError(f"the file of the network cannot be read: {error.strerror}") from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != path.name.partition(".")[0]:
        raise DamagedNetworkError(
            f"the file of the network is damaged: its {len(content):,} bytes have the sha256 {sha256}"
        )
    return content


def _folder(path: str) -> bytes:
    """Returns the files of a SavedModel's folder as one archive."""
    files = filesystem_of(path)
    found = {entry.path.removeprefix(path).lstrip("/"): entry for entry in files.list(path)}
    names = [name for name in found if _is_part(path, name)]
    if not found:
        raise UsageError(f"{path}: there is no such network")
    if _SAVED_MODEL not in names:
        raise UsageError(f"{path}: the folder is no SavedModel: it has no {_SAVED_MODEL}")
    if sum(found[name].size for name in names) > _MOST_BYTES:
        raise UsageError(f"{path}: a SavedModel that is taken has at most 2 GiB")
    return _packed((name, files.read(found[name].path)) for name in sorted(names))


def _archive(path: str, content: bytes) -> bytes:
    """Returns the archive of a SavedModel as `_folder` would have made it."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = {info.filename: info for info in archive.infolist() if _is_part(path, info.filename)}
            if _SAVED_MODEL not in infos:
                raise UsageError(f"{path}: the archive is no SavedModel: it has no {_SAVED_MODEL} at its top")
            if sum(info.file_size for info in infos.values()) > _MOST_BYTES:
                raise UsageError(f"{path}: a SavedModel that is taken has at most 2 GiB")
            return _packed((name, archive.read(name)) for name in sorted(infos))
    except UsageError:
        raise
    except Exception as error:  # damage is also one of zlib's, of a name that is no text, of a place before the start
        raise UsageError(f"{path}: the archive is damaged or not one that can be read: {error}") from error


def _is_part(path: str, name: str) -> bool:
    if name.startswith(_SAVED_MODEL_FOLDERS) and not {"..", "."}.isdisjoint(name.split("/")):
        raise UsageError(f"{path}: {name!r} leads out of the folder of the SavedModel; leave that file out")
    return name == _SAVED_MODEL or (name.startswith(_SAVED_MODEL_FOLDERS) and not name.endswith("/"))


def _packed(members: Iterable[tuple[str, bytes]]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name, _EARLIEST_TIME)
            info.create_system = 3  # as on Unix, wherever it is made
            archive.writestr(info, content)
    return packed.getvalue()
