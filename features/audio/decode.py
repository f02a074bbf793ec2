"""From a file to samples: plain WAV by hand, all else by soundfile in another process, what that refuses by ffmpeg."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.audio.containers import inspect
from features.audio.decoder_client import decode_in_process, probe_in_process, read_in_process
from features.audio.ffmpeg import convert, read_converted
from features.audio.plain_wav import HEADER_BYTES, SAMPLE_BYTES, WAV, plain_wav, read_plain
from features.audio.protocol import RATES_HZ, ClipLength, Decoded, OpenFile
from features.errors import JOINED, WRONG_SIZE, ClipError, Reason
from features.io.regular_file import open_regular

AudioSource = bytes | str
"""The content of a file, or the path of one as `os.fsdecode` gives it; of a plain WAV also the URI of an object."""

LEAST_RATE_HZ, MOST_RATE_HZ = RATES_HZ[0], RATES_HZ[-1]


@dataclass(frozen=True)
class AudioInfo:
    """What the header says.

    Attributes:
        frames: samples per channel that it promises.
        channels: number of channels.
        rate_hz: sample rate.
        truncated: whether the file is known to hold less than its header promises.
        end_unverified: whether only its last frame shows that it was not cut off.
        pcm_offset: where the samples of a plain PCM WAV begin, None for everything else.
        pcm_bytes: of a sample of one channel there.
        decoder: what reads it: `wav`, or name and version of libsndfile or of ffmpeg; empty where nothing was read.
        size: bytes of the file.
        size_note: by how much its header and the file disagree, empty if they do not or are only `truncated`.
        joined_note: what follows its sound that is another recording and not used, empty if nothing does.
        in_order: whether to decode its windows in their order is much faster: it is decoded from its beginning on, or
            as a whole by ffmpeg, and a process keeps where it is, or what it has.
    """

    frames: int
    channels: int
    rate_hz: int
    truncated: bool = False
    end_unverified: bool = False
    pcm_offset: int | None = None
    pcm_bytes: int = 2
    decoder: str = ""
    size: int = 0
    size_note: str = ""
    joined_note: str = ""
    in_order: bool = False

    @property
    def header_warnings(self) -> dict[str, str]:
        """What was met, by the code of its warning, where the header does not say all of the file."""
        return {code: said for code, said in ((WRONG_SIZE, self.size_note), (JOINED, self.joined_note)) if said}

    @property
    def by_ffmpeg(self) -> bool:
        """Whether ffmpeg decodes it, as soundfile does not."""
        return self.decoder.startswith("ffmpeg ")


def probe(source: AudioSource) -> AudioInfo:
    """Reads the header of a file, and counts its frames where the header cannot be believed.

    Raises:
        ClipError: the file is missing, may not be read, is empty, is not audio, is in a format that nothing here
            decodes, or its header is damaged; or a decoder died, took too long or wanted too much memory.
        RunError: no process can be started for decoding.
    """
    return probe_and_decode(source, None)[0]


def probe_and_decode(source: AudioSource, clip: ClipLength | None) -> tuple[AudioInfo, Decoded | None]:
    """Does what `probe` does, and decodes at once what is used of a file that is a clip.

    Args:
        source: the path of the file, or its content.
        clip: what of it is used.

    Returns:
        What the header says; and that part as `decode_part` gives it, None where it is to be asked for by that.

    Raises:
        ClipError: what `probe` or `decode_part` raise.
        RunError: no process can be started for decoding.
    """
    decoded = None
    head, size = (source, len(source)) if isinstance(source, bytes) else (b"", 0)
    with contextlib.ExitStack() as opened:
        file = None
        if isinstance(source, str):
            file = opened.enter_context(_opened(source))
            try:
                head, size = os.pread(file.descriptor, HEADER_BYTES, 0), file.size
            except OSError as error:
                raise file_error(error) from error
        if size == 0:
            raise ClipError("decode", Reason.EMPTY, "the file has no bytes")
        info = probe_plain(head, size)
        if info is None:
            info, decoded = _probe_coded(file or opened.enter_context(_opened(source)), clip)
    if not LEAST_RATE_HZ <= info.rate_hz <= MOST_RATE_HZ:
        rates = f"a sample rate is {LEAST_RATE_HZ:,} to {MOST_RATE_HZ:,} Hz"
        raise ClipError("decode", Reason.DAMAGED, f"{rates}, and the header says {info.rate_hz:,} Hz")
    return info, None if decoded is None else _finite(decoded)


def _probe_coded(file: OpenFile, clip: ClipLength | None) -> tuple[AudioInfo, Decoded | None]:
    try:
        info, decoded = probe_in_process(file, clip)
        return AudioInfo(**info._asdict(), size=file.size), decoded
    except ClipError as error:
        if error.reason != Reason.UNSUPPORTED_CODEC:
            raise
        try:
            sound = convert(file)
        except ClipError as other:
            raise ClipError("decode", other.reason, f"{error.message}; {other.message}") from other
        # ffmpeg keeps silent about a file that ends early where its samples do not depend on each other.
        container = inspect(file.descriptor, file.size)
        complained = bool(sound.complaint) and not container.whole
        return AudioInfo(
            sound.frames, sound.channels, sound.rate_hz, truncated=complained or container.cut_off,
            decoder=sound.decoder, size=file.size, size_note=container.note,
            joined_note=container.joined, in_order=True,
        ), None  # fmt: skip


def decode_together(files: Sequence[OpenFile], clip: ClipLength) -> list[tuple[AudioInfo, Decoded] | None]:
    """Does what `probe_and_decode` does with several small files at once, where soundfile reads them.

    Args:
        files: at most `TOGETHER`.
        clip: what of each is used.

    Returns:
        What that does; None for what has an error, or another decoder, or is too large: `probe_and_decode` shows it.

    Raises:
        RunError: no process can be started for decoding.
    """
    results: list[tuple[AudioInfo, Decoded] | None] = []
    for file, found in zip(files, decode_in_process(files, clip), strict=True):
        result = None
        if found is not None and LEAST_RATE_HZ <= found[0].rate_hz <= MOST_RATE_HZ:
            with contextlib.suppress(ClipError):
                result = AudioInfo(**found[0]._asdict(), size=file.size), _finite(found[1])
        results.append(result)
    return results


def decode(source: AudioSource, info: AudioInfo, start: int = 0, frames: int | None = None) -> NDArray[np.float32]:
    """Returns the samples of `decode_part`, and raises what that does."""
    return decode_part(source, info, start, frames).samples


def decode_part(
    source: AudioSource, info: AudioInfo, start: int = 0, frames: int | None = None, forward: bool = False
) -> Decoded:
    """Decodes a part of a file.

    Args:
        source: the path of the file, or its content.
        info: what `probe` said of it.
        start: first frame to read.
        frames: how many to read, None for all that follow.
        forward: whether parts are asked for one after the other: then MPEG audio is decoded from its beginning on, once
            for all of them, and else from shortly before each. Samples are the same but for last digits.

    Returns:
        float32 of shape (frames read, channels), full scale at 1; fewer frames than requested where the file ends, or
        where it is damaged and decoding stops. In a file that was joined it goes on with the next part: what the
        damage took is zeros, and missing.

    Raises:
        ClipError: the file is damaged from `start` on, has changed, or holds values that are not finite; or a decoder
            died, took too long or wanted too much memory.
        RunError: no process can be started for decoding.
    """
    start = min(start, info.frames)
    wanted = min(info.frames - start, info.frames if frames is None else frames)
    if info.pcm_offset is not None:
        try:
            offset = info.pcm_offset + start * info.channels * info.pcm_bytes
            return Decoded(read_plain(source, offset, (wanted, info.channels), info.pcm_bytes))
        except OSError as error:
            raise file_error(error) from error
    with _opened(source) as file:
        if info.by_ffmpeg:
            decoded = Decoded(read_converted(convert(file), start, wanted))
        else:
            decoded = read_in_process(file, (start, wanted), info.channels, forward)
    return _finite(decoded)


def _finite(decoded: Decoded) -> Decoded:
    """Returns what was decoded; raises `ClipError` where there is NaN or infinity in it."""
    samples = decoded.samples.reshape(-1)
    # A sum of squares is finite only if every term is, unless large terms overflow it: look closer only then.
    with np.errstate(over="ignore", invalid="ignore"):
        energy = np.dot(samples, samples)
    if not np.isfinite(energy) and not np.isfinite(samples).all():
        raise ClipError("decode", Reason.NOT_FINITE, "the samples hold NaN or infinity")
    return decoded


def is_cut_off(source: AudioSource, info: AudioInfo) -> bool:
    """Returns whether a file ends before its header says; raises `ClipError` as `decode` does.

    Args:
        source: the path of the file, or its content.
        info: what `probe` said of it.
    """
    if info.truncated or not info.end_unverified:
        return info.truncated
    try:
        return len(decode(source, info, info.frames - 1)) == 0
    except ClipError as error:
        if error.reason != Reason.DAMAGED:
            raise
        return True


def probe_plain(head: bytes, size: int) -> AudioInfo | None:
    """Reads the header of a PCM WAV that is decoded without soundfile; None for everything else.

    Args:
        head: how the file begins, or all of it.
        size: of the file.
    """
    plain = plain_wav(head, size, SAMPLE_BYTES)
    if plain is None or not LEAST_RATE_HZ <= plain.rate_hz <= MOST_RATE_HZ:
        return None
    return AudioInfo(
        plain.frames, plain.channels, plain.rate_hz,
        pcm_offset=plain.offset, pcm_bytes=plain.sample_bytes, decoder=WAV, size=size,
    )  # fmt: skip


def file_error(error: OSError) -> ClipError:
    """Turns an error of the operating system into the reason code that fits."""
    text = error.strerror or str(error)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return ClipError("decode", Reason.MISSING, text)
    if error.errno in (errno.EACCES, errno.EPERM):
        return ClipError("decode", Reason.PERMISSION, text)
    return ClipError("decode", Reason.UNREADABLE, text)


def is_named_mp3(path: str) -> bool:
    """Returns whether a file's name says that it is an MP3 or one of its siblings."""
    return path.lower().endswith((".mp3", ".mp2", ".mp1"))


@contextlib.contextmanager
def _opened(source: AudioSource) -> Iterator[OpenFile]:
    """Opens a file, or one that has this content, for another process."""
    if isinstance(source, bytes):
        with tempfile.TemporaryFile() as file:
            file.write(source)
            file.flush()
            yield OpenFile(file.fileno(), len(source), mp3=False, identity=None)
        return
    try:
        descriptor, status = open_regular(source)
    except OSError as error:
        raise file_error(error) from error
    try:
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        yield OpenFile(descriptor, status.st_size, is_named_mp3(source), identity)
    finally:
        os.close(descriptor)
