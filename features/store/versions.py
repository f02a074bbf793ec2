"""Versions of the libraries that compute features."""

import contextlib
import functools
import platform
from typing import TYPE_CHECKING

from features.audio.ffmpeg import ffmpeg_version, find_ffmpeg

if TYPE_CHECKING:
    from features.frontend.spec import FeatureSpec

# Raised when soundmill itself comes to read what it did not: rejects for their content are tried again then.
_DECODING = "5"
_LIBRARIES = ("soundmill", "numpy", "scipy", "soxr", "soundfile", "pyarrow")


@functools.cache
def library_versions(spec: "FeatureSpec | None" = None) -> dict[str, str]:
    """Returns the versions of what computes features; ffmpeg is among them where it is on the PATH.

    Args:
        spec: a front end; where it has a network, what runs that is among them if it is installed.
    """
    # What this loads takes its time: only where versions are requested.
    from importlib.metadata import PackageNotFoundError, version

    import soundfile

    versions = {name: version(name) for name in _LIBRARIES}
    program = find_ffmpeg()
    if program is not None:
        versions["ffmpeg"] = ffmpeg_version(program)
    versions["decoding"] = _DECODING
    if spec is not None and spec.network_format is not None:
        from features.networks.network import PACKAGES

        with contextlib.suppress(PackageNotFoundError):
            runtime = PACKAGES[spec.network_format]
            versions[runtime] = version(runtime)
    return {"python": platform.python_version(), "libsndfile": soundfile.__libsndfile_version__, **versions}
