"""Clips of compressed formats, of which a few are decoded with one request to the process that does it."""

import contextlib
import os
from typing import NamedTuple

from features.audio.decode import AudioInfo, decode_together, is_named_mp3
from features.audio.protocol import SHARED_BYTES, TOGETHER, Decoded, OpenFile
from features.errors import ClipError, Reason
from features.frontend.clip import decode_clip
from features.frontend.spec import FeatureSpec
from features.frontend.waveform import DecodedClip, clip_length
from features.io.file_time import mtime_ns, same_time
from features.io.regular_file import open_regular
from features.sources.clips import FileState
from features.sources.content_hash import content_hash
from features.sources.paths import clip_file
from features.update.work_list import ShardUnit

# Names of files that soundfile decodes; that such a one is a plain WAV is not looked at first.
ENDINGS = (".flac", ".mp3", ".ogg", ".oga", ".opus")
_WAV_MARK = b"RIFF"
# A larger file is not read into memory to be hashed.
_MOST_BYTES = 2**20


class _File(NamedTuple):
    """The file of a clip that was read.

    Attributes:
        number: of the clip in its unit.
        path: of the file.
        digest: hash of its content.
        state: size and modification time, as it was opened.
    """

    number: int
    path: str
    digest: str
    state: tuple[int, int]


class _Sound(NamedTuple):
    """What was decoded of a file."""

    file: _File
    info: AudioInfo
    decoded: Decoded


class CodedClips:
    """Decodes the next few clips of a unit together, where all is as it was listed.

    Whatever asks for a second look is left to a request of its own, and so are errors. Of as many clips as the process
    that decodes has room for, the samples are in memory.
    """

    def __init__(self, unit: ShardUnit, root: str, spec: FeatureSpec, digests: dict[FileState, str]) -> None:
        """Takes a unit, where the paths of its clips begin, the front end, and where hashes of files are noted."""
        self._unit, self._root, self._spec, self._digests = unit, root, spec, digests
        self._together = TOGETHER
        self._next = 0  # the first clip of which nothing was asked
        self._sounds: dict[int, _Sound] = {}

    def take(self, number: int) -> tuple[DecodedClip, str] | None:
        """Returns a clip by its number, and the hash of its file's content; None where it is to be read in another way.

        Raises:
            ClipError: the clip cannot be used.
            RunError: no process can be started for decoding.
        """
        if number >= self._next and self._is_taken(number):
            self._decode_from(number)
        if number not in self._sounds:
            return None
        file, info, decoded = self._sounds.pop(number)
        try:
            clip = decode_clip(file.path, self._spec, info=info, decoded=decoded)
        except ClipError:
            _check_unchanged(file)  # then the error is of what was read
            raise
        _check_unchanged(file)
        return clip, file.digest

    def _is_taken(self, number: int) -> bool:
        clip = self._unit.clips[number]
        return (
            clip.path.lower().endswith(ENDINGS) and clip.is_whole and clip.size <= _MOST_BYTES
            and clip.mtime_ns is not None and clip.version is None and number not in self._unit.cached
        )  # fmt: skip

    def _decode_from(self, number: int) -> None:
        """Decodes a clip and those that follow it."""
        with contextlib.ExitStack() as opened:
            read: list[tuple[_File, OpenFile]] = []
            while number < len(self._unit.clips) and len(read) < self._together:
                one = self._read(number, opened) if self._is_taken(number) else None
                read += [one] if one is not None else []
                number += 1
            self._next = number
            found = decode_together([one for _, one in read], clip_length(self._spec)) if read else []
        most = 1
        for (file, _), result in zip(read, found, strict=True):
            if result is not None:
                self._sounds[file.number] = _Sound(file, *result)
                most = max(most, result[1].samples.nbytes)
        self._together = max(1, min(TOGETHER, SHARED_BYTES // most))

    def _read(self, number: int, opened: contextlib.ExitStack) -> tuple[_File, OpenFile] | None:
        """Reads a file and leaves it open; None where it is not as it was listed, or is a WAV under such a name."""
        clip = self._unit.clips[number]
        path = clip_file(self._root, clip.path)
        try:
            descriptor, status = open_regular(path)
            opened.callback(os.close, descriptor)
            state = status.st_size, mtime_ns(status)
            if state[0] != clip.size or clip.mtime_ns is None or not same_time(state[1], clip.mtime_ns):
                return None
            content = os.read(descriptor, clip.size)
        except OSError:
            return None
        if not content or len(content) != clip.size or content.startswith(_WAV_MARK):
            return None
        digest = self._digests[clip.state] = content_hash(content, like=clip.content_hash)
        if clip.content_hash not in (None, digest):
            return None
        return _File(number, path, digest, state), OpenFile(descriptor, clip.size, is_named_mp3(path), None)


def _check_unchanged(file: _File) -> None:
    """Raises `ClipError` where a file is not the one that was read any more, as `Recording.check_unchanged` does."""
    try:
        status = os.stat(file.path)
    except OSError as error:
        raise ClipError("decode", Reason.VANISHED, "the file went away while it was read") from error
    if (status.st_size, mtime_ns(status)) != file.state:
        raise ClipError("decode", Reason.VANISHED, "the file changed while it was read")
