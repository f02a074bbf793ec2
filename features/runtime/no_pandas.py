"""Keeps pyarrow from loading pandas, which takes longer than all that a small run needs.

pyarrow 25 imports pandas, where it is installed, as soon as `pyarrow.array` is given anything but an array of NumPy: it
might be a Series. Nothing here is one. What asks for pandas itself, as `Table.to_pandas` does, still gets it.
"""

import sys
from importlib.abc import MetaPathFinder


def keep_pandas_out() -> None:
    """Has pyarrow look for pandas once, where there seems to be none; does nothing where it is loaded."""
    import pyarrow as pa  # not by --help

    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, _NO_PANDAS)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(_NO_PANDAS)


class _NoPandas(MetaPathFinder):
    """Finds that there is none."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


_NO_PANDAS = _NoPandas()
