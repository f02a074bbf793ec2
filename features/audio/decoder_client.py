"""Asks processes that decode: what crashes, hangs or eats memory there costs one file, and not the run."""

import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.audio.decoder import Decoder, decoded
from features.audio.protocol import ClipLength, CodecInfo, Decoded, FileIdentity, OpenFile
from features.errors import ClipError, Reason


def probe_in_process(file: OpenFile, clip: ClipLength | None = None) -> tuple[CodecInfo, Decoded | None]:
    """Has `features.audio.soundfile_codec.probe_coded` done in a process of its own; raises `ClipError` as that does.

    Args:
        file: the file.
        clip: what of it becomes a clip, where that is to be decoded as well.

    Returns:
        What was found out; and what is used of the file as `read_in_process` gives it, None where that is to be asked
        for: where it is large, or known what the header says.

    Raises:
        ClipError: besides, the process died, took too long or wanted too much memory; or what `read_in_process` raises.
        RunError: no such process can be started.
    """
    key = (file.identity, file.mp3)
    info = _probed.get(key)
    if info is not None and file.identity is not None:
        return info, None
    blocks, end = _ask(file, None, clip=clip)
    info = CodecInfo(**end["info"])
    _probed.clear()
    _probed[key] = info
    return info, decoded(blocks, end, info.channels) if "missing" in end else None


def read_in_process(file: OpenFile, part: tuple[int, int], channels: int, forward: bool) -> Decoded:
    """Has `features.audio.soundfile_codec.read_coded` done in a process of its own; raises `ClipError` as that does.

    Args:
        file: the file.
        part: first frame to read, and how many at most.
        channels: what the header said; another number now is a file that has changed.
        forward: as in `features.audio.decode.decode_part`.

    Returns:
        The samples, fewer where the file ends or is damaged, and which of them are missing.

    Raises:
        ClipError: besides, the process died, took too long or wanted too much memory, or the file has changed.
        RunError: no such process can be started.
    """
    blocks, end = _ask(file, part, forward)
    if blocks and end["channels"] != channels:
        raise ClipError("decode", Reason.VANISHED, "the file changed while it was read")
    return decoded(blocks, end, channels)


def decode_in_process(files: Sequence[OpenFile], clip: ClipLength) -> list[tuple[CodecInfo, Decoded] | None]:
    """Has what is used of several files decoded with one request; what `probe_in_process` does takes one for each.

    Args:
        files: at most `TOGETHER`.
        clip: what of each becomes a clip.

    Returns:
        For each what was found out, and what is used of it; None where it is to be asked for by itself, as are all of
        them where the process died or took too long: that was one of them, and shows then.

    Raises:
        RunError: no such process can be started.
    """
    decoder = _take_idle(None) or Decoder()
    try:
        found = decoder.ask_together(files, clip)
    except ClipError:
        return [None] * len(files)
    except BaseException:
        decoder.end()
        raise
    if Reason.OUT_OF_MEMORY_GUARD in [reason for reason in found if isinstance(reason, str)]:
        decoder.end()
    else:
        with _lock:
            _idle.append(decoder)
    return [None if isinstance(one, str) else one for one in found]


# Processes that wait to be asked: as many as threads have ever decoded at a time. They end when this one does.
_idle: list[Decoder] = []
_lock = threading.Lock()
# What is known of the last file: its parts follow one another, and to count its frames may take long.
_probed: dict[tuple[FileIdentity | None, bool], CodecInfo] = {}


def _start_anew() -> None:
    global _lock
    _lock = threading.Lock()
    _idle.clear()  # they answer the process that this one was forked from


os.register_at_fork(after_in_child=_start_anew)


def _take_idle(identity: FileIdentity | None) -> Decoder | None:
    """Takes a process that waits: the one that may have this file open, else one that has none open for another thread.

    A recording that is decoded from its beginning on would be decoded so again, had another thread's file taken its
    place between two requests.
    """
    thread = threading.get_ident()
    with _lock:
        ranks = [(identity is not None and decoder.last_file == identity, decoder.last_thread == thread)
                 for decoder in _idle]  # fmt: skip
        return _idle.pop(max(range(len(ranks)), key=ranks.__getitem__)) if ranks else None


def _ask(
    file: OpenFile, part: tuple[int, int] | None, forward: bool = False, clip: ClipLength | None = None
) -> tuple[list[NDArray[np.float32]], dict[str, Any]]:
    while True:
        decoder = _take_idle(file.identity) or Decoder()
        fresh = not decoder.asked
        try:
            blocks, end = decoder.ask(file, part, forward, clip)
        except ClipError as error:
            if fresh or error.reason != Reason.DECODER_DIED:
                raise
            continue  # maybe for what an earlier file did to the process: a new one shows
        except BaseException:
            decoder.end()
            raise
        if "error" not in end:
            with _lock:
                _idle.append(decoder)
            return blocks, end
        stage, reason, message = end["error"]
        if reason == Reason.OUT_OF_MEMORY_GUARD:
            decoder.end()
            if not fresh:
                continue
        else:
            with _lock:
                _idle.append(decoder)
        raise ClipError(stage, Reason(reason), message)
