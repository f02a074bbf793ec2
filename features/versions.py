"""Versions of the libraries that compute features."""

import functools
import platform
from importlib.metadata import version

_LIBRARIES = ("soundmill", "numpy", "scipy", "soxr", "soundfile", "pyarrow")


@functools.cache
def library_versions() -> dict[str, str]:
    """Returns the versions of what computes features."""
    import soundfile  # it loads libsndfile: only where versions are asked for

    versions = {name: version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), "libsndfile": soundfile.__libsndfile_version__, **versions}
