"""Calls functions of a library for the tests, with the Python of the library's environment: python -I serve.py LIBRARY.

Reads a call a line, [function, arguments, named arguments], and answers with a line, {"value": ...} or {"error": ...}.
Lines are JSON, in which arrays are the bytes of a .npy file. It imports nothing of soundmill, which is not there.
"""

import base64
import importlib
import io
import json
import os
import sys
import traceback
from datetime import datetime
from importlib.metadata import distributions
from typing import Any

import numpy as np


def encode(value: Any) -> Any:
    """Returns a value as JSON has it."""
    if isinstance(value, np.ndarray | np.generic):
        file = io.BytesIO()
        np.save(file, value, allow_pickle=False)
        return {"npy": base64.b64encode(file.getvalue()).decode()}
    if isinstance(value, list | tuple | range):
        return [encode(part) for part in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def decode(value: Any) -> Any:
    """Returns what was encoded; tuples come back as lists, NumPy's numbers as arrays without a dimension."""
    if isinstance(value, dict):
        return np.load(io.BytesIO(base64.b64decode(value["npy"])), allow_pickle=False)
    return [decode(part) for part in value] if isinstance(value, list) else value


def versions() -> list[str]:
    """Returns what is installed in this environment, as a file of requirements has it."""
    return sorted(f"{found.name}=={found.version}" for found in distributions())


def _answer(library: str, call: str) -> dict[str, Any]:
    function, arguments, named = json.loads(call)
    try:
        if not function:
            return {"value": versions()}
        module, _, name = f"{library}.{function}".rpartition(".")
        called = getattr(importlib.import_module(module), name)
        return {"value": encode(called(*decode(arguments), **{key: decode(value) for key, value in named.items()}))}
    except Exception:
        return {"error": traceback.format_exc()}


def main(library: str) -> None:
    """Answers until there are no more calls."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever the library prints is no answer
    for call in sys.stdin:
        print(json.dumps(_answer(library, call)), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
