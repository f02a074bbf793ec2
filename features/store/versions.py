"""Versions of the libraries that compute features."""

import functools
import platform

from features.audio.ffmpeg import ffmpeg_version, find_ffmpeg

# Raised when soundmill itself comes to read what it did not: rejects for their content are tried again then.
_DECODING = "5"
_LIBRARIES = ("soundmill", "numpy", "scipy", "soxr", "soundfile", "pyarrow")


@functools.cache
def library_versions() -> dict[str, str]:
    """Returns the versions of what computes features; ffmpeg is among them where it is on the PATH."""
    # What this loads takes its time: only where versions are requested.
    from importlib.metadata import version

    import soundfile

    versions = {name: version(name) for name in _LIBRARIES}
    program = find_ffmpeg()
    if program is not None:
        versions["ffmpeg"] = ffmpeg_version(program)
    versions["decoding"] = _DECODING
    return {"python": platform.python_version(), "libsndfile": soundfile.__libsndfile_version__, **versions}
