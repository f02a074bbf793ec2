"""Decodes what soundfile refuses through the program ffmpeg, where one is on the PATH.

A file is converted as a whole, into a temporary file from which its parts are read: to seek in such files is not exact.
"""

import contextlib
import functools
import os
import re
import resource
import shutil
import struct
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from features.audio.foreign import behind_tags
from features.audio.mp4 import NO_SOUND_TRACK, sound_part
from features.audio.protocol import FileIdentity, OpenFile, limit_bytes, limit_seconds
from features.errors import ClipError, PassingError, Reason

# Demuxers that read one file and nothing that it names: no playlists, no scripts, no streams from elsewhere.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,aac,asf,matroska,webm,amr,amrnb,amrwb,wv,ape,tta,tak,mpc,mpc8,dsf,iff,ac3,eac3,dts,"
    "wav,w64,aiff,au,caf,flac,ogg,mp3,loas,avi,flv,mpegts,mpeg"
)
_MEMORY_BYTES = 2**30
_AU_HEADER = struct.Struct(">4s5I")
_NO_SPACE = "No space left"
# What it says where there is no sound, and where it finds an error in the file and not in what it can do.
_NO_TRACK = "matches no streams"
_DAMAGE = re.compile("Invalid data found|End of file|partial file")
# How lines begin that are of a picture, which a recording may have for a cover.
_OF_A_PICTURE = re.compile(r"\[(?:[\w#:]*/)?(?:mjpeg|jpeg\w*|png|apng|bmp|gif|webp|tiff|image2)\b")
_SAID_BYTES = 4096
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True)
class Converted:
    """A file as ffmpeg decoded it.

    Attributes:
        file: float32 samples, big-endian, the channels of a frame side by side.
        offset: where they begin.
        frames: samples per channel.
        channels: number of channels.
        rate_hz: sample rate.
        complaint: what ffmpeg said of its sound, empty if nothing.
        decoder: name and version of the program.
    """

    file: BinaryIO
    offset: int
    frames: int
    channels: int
    rate_hz: int
    complaint: str
    decoder: str


class _Last(threading.local):
    """The last file of a thread: its parts follow one another, and those of other threads are of other files."""

    converted: tuple[FileIdentity, Converted] | None = None


_last = _Last()


def find_ffmpeg() -> str | None:
    """Returns the path of the program, None where there is none."""
    return shutil.which("ffmpeg")


@functools.cache
def ffmpeg_version(program: str) -> str:
    """Returns the version of the program, as it prints it."""
    try:
        answer = subprocess.run([program, "-version"], capture_output=True, text=True, errors="replace", timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    words = answer.stdout.split()
    return words[2] if len(words) > 2 and words[1] == "version" else "unknown"


def decoder_name(program: str) -> str:
    """Returns what a clips table calls this ffmpeg."""
    return f"ffmpeg {ffmpeg_version(program)}"


def convert(file: OpenFile) -> Converted:
    """Converts an open file, or finds it converted.

    Raises:
        ClipError: there is no ffmpeg, it cannot decode the file, or takes too much of anything.
        RunError: there is no room for temporary files.
    """
    if file.identity is None:
        return _convert(file.descriptor, file.size)
    if _last.converted is None or _last.converted[0] != file.identity:
        _last.converted = None  # its room is free before the next one takes it
        _last.converted = file.identity, _convert(file.descriptor, file.size)
    return _last.converted[1]


def read_converted(converted: Converted, start: int, frames: int) -> NDArray[np.float32]:
    """Reads a part of what `convert` returned: float32 of shape (frames, channels)."""
    frame_bytes = 4 * converted.channels
    raw = os.pread(converted.file.fileno(), frames * frame_bytes, converted.offset + start * frame_bytes)
    return np.frombuffer(raw, ">f4").astype(np.float32).reshape(-1, converted.channels)


def _convert(descriptor: int, size: int) -> Converted:
    try:
        part = sound_part(descriptor, size)
    except OSError as error:
        raise ClipError("decode", Reason.UNREADABLE, error.strerror or str(error)) from error
    program = find_ffmpeg()
    if program is None:
        raise ClipError("decode", Reason.UNSUPPORTED_CODEC, "an ffmpeg on the PATH may decode it, and there is none")
    try:
        output = tempfile.TemporaryFile(prefix="soundmill-")  # noqa: SIM115  # it outlives this function
    except OSError as error:
        raise PassingError(f"no temporary file can be made: {error}; TMPDIR says where") from error
    try:
        with tempfile.TemporaryFile() as said:
            code, complaint = _run(program, descriptor, output, said, size, whole=part is not None)
        output.seek(0)
        header = output.read(_AU_HEADER.size)
        length = os.fstat(output.fileno()).st_size
        if length >= limit_bytes(size):
            raise ClipError("decode", Reason.OUT_OF_MEMORY_GUARD,
                            "it becomes more samples than a file of its size can hold")  # fmt: skip
        whole = len(header) == _AU_HEADER.size
        _, offset, _, _, rate_hz, channels = _AU_HEADER.unpack(header) if whole else (b"", length, 0, 0, 0, 1)
        frames = max(0, length - offset) // (4 * channels)
        if frames == 0 and complaint and _NO_SPACE not in complaint:
            raise _refusal(complaint)
        if code:
            # A signal, a full disk, no memory: what it wrote is not all. Of damaged files it ends with 0.
            why = complaint or f"is there room in {tempfile.gettempdir()}?"
            raise ClipError("decode", Reason.DECODER_DIED, f"ffmpeg ended early with exit code {code}: {why}")
        if frames == 0:
            raise ClipError("decode", Reason.UNSUPPORTED_CODEC, "ffmpeg finds no sound in it")
    except BaseException:
        output.close()
        raise
    if part is not None:
        first, frames = part.frames(frames, rate_hz)
        offset += first * 4 * channels
    return Converted(output, offset, frames, channels, rate_hz, complaint, decoder_name(program))


def _refusal(complaint: str) -> ClipError:
    """Returns what it means that ffmpeg decodes nothing and says this."""
    if _NO_TRACK in complaint:
        return ClipError("decode", Reason.UNSUPPORTED_CODEC, NO_SOUND_TRACK)
    reason = Reason.DAMAGED if _DAMAGE.search(complaint) else Reason.UNSUPPORTED_CODEC
    return ClipError("decode", reason, f"ffmpeg: {complaint}")


def _run(program: str, descriptor: int, output: BinaryIO, said: BinaryIO, size: int, *, whole: bool) -> tuple[int, str]:
    """Converts the first sound of a file into AU; returns ffmpeg's exit code and what it wrote of errors.

    With `whole`, for an MPEG-4 file, all that is decoded is written, be it outside of its edit list.
    """
    # Of a tag before the sound not every demuxer knows that it is none.
    reading = ["-protocol_whitelist", "file", "-format_whitelist", _FORMATS]
    reading += ["-skip_initial_bytes", str(tags)] if (tags := behind_tags(descriptor)) else []
    reading += ["-ignore_editlist", "1", "-flags2", "+skip_manual"] if whole else []
    source = [*reading, "-i", f"file:/dev/fd/{descriptor}"]
    sound = ["-map", "0:a:0", "-c:a", "pcm_f32be", "-fs", str(limit_bytes(size)), "-f", "au", "pipe:1"]
    command = [program, "-nostdin", "-hide_banner", "-v", "error", "-threads", "1", *source, *sound]
    environment = {**os.environ, "AV_LOG_FORCE_NOCOLOR": "1"}
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=said, env=environment, pass_fds=[descriptor],
            process_group=0,  # Ctrl-C is the driver's
        )  # fmt: skip
    except OSError as error:
        raise ClipError("decode", Reason.UNSUPPORTED_CODEC, f"{program} does not start: {error.strerror}") from error
    with process:
        try:
            with contextlib.suppress(AttributeError, ProcessLookupError):  # prlimit is Linux's
                resource.prlimit(process.pid, resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
                # Should this process be killed meanwhile, nothing else ends one that computes forever.
                cpu_seconds = int(limit_seconds(size)) + 1
                resource.prlimit(process.pid, resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
            process.wait(limit_seconds(size))
        except subprocess.TimeoutExpired as error:
            raise ClipError("decode", Reason.TIMEOUT, "ffmpeg took too long and was ended") from error
        finally:
            process.kill()
    if process.returncode < 0:
        raise ClipError("decode", Reason.DECODER_DIED, f"ffmpeg was ended by signal {-process.returncode}")
    said.seek(0)
    lines = [line.strip() for line in said.read(_SAID_BYTES).decode(errors="replace").splitlines() if line.strip()]
    said_in_a_line = "; ".join(line for line in lines if not _OF_A_PICTURE.match(line)).replace(
        f"/dev/fd/{descriptor}", "it"
    )
    complaint = re.sub(" @ 0x[0-9a-f]+", "", said_in_a_line)  # addresses differ from run to run
    return process.returncode, complaint[:_SHOWN_CHARACTERS]
