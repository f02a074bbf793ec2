"""What other projects' libraries compute: as tests/golden holds it, or live, in environments that `make peers` sets up.

A library may need other versions of what soundmill needs, so no test imports one. A test asks the fixture of the
library, `librosa` or `scikit_learn`, with a name and a function that calls the library as if it were imported:

    expected = librosa("mfcc, 40 coefficients", lambda theirs: theirs.feature.mfcc(y=waveform, sr=22_050, n_mfcc=40))

With the golden values the function is not called; `make golden` calls it and writes them anew. Live, in trials, the
process of `serve.py` answers the calls. Another library is a list of pinned versions beside this file, and a fixture.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.peers.serve import decode, encode

ROOT = Path(__file__).parents[2]
# The folder of the environments; where the variable names it, a test that lacks one fails instead of being skipped.
ENVIRONMENTS = Path(os.environ.get("SOUNDMILL_PEERS") or ROOT / ".peers")
GOLDEN = ROOT / "tests" / "golden"
Expected = Callable[[str, Callable[[Any], Any]], NDArray]
WRITTEN = pytest.param("golden", marks=pytest.mark.golden)
# The marks of a test that calls librosa's environment, or that of the readers of recorders' headers.
LIVE = (pytest.mark.trial, pytest.mark.peers("librosa"))
LIVE_RECORDERS = (pytest.mark.trial, pytest.mark.peers("recorders"))


def is_installed(environment: str) -> bool:
    """Returns whether `make peers` has set an environment up."""
    return (ENVIRONMENTS / environment / ".installed").exists()


class Library:
    """A library, or a part of it, in another process: attributes are parts of it, a call is made over there."""

    def __init__(self, process: subprocess.Popen[str], name: str = "") -> None:
        self._process, self._name = process, name

    def __getattr__(self, part: str) -> "Library":
        return Library(self._process, f"{self._name}.{part}".lstrip("."))

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        call = [self._name, encode(arguments), {key: encode(value) for key, value in named.items()}]
        print(json.dumps(call), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline() or '{"error": "its process has ended"}')
        if "error" in answer:
            raise AssertionError(f"{self._name} failed in the other process: {answer['error']}")
        return decode(answer["value"])


@contextmanager
def live(environment: str, library: str) -> Iterator[Library]:
    """Starts a library in its environment; called itself, not a part of it, it returns the versions of all in there."""
    python = ENVIRONMENTS / environment / "bin" / "python"
    command = [str(python), "-I", str(Path(__file__).with_name("serve.py")), library]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Library(process)
        process.stdin.close()


@contextmanager
def live_values(environment: str, library: str) -> Iterator[Expected]:
    """What a library computes now."""
    with live(environment, library) as theirs:
        yield lambda name, compute: np.asarray(compute(theirs))


@contextmanager
def golden_values(environment: str, library: str, update: bool) -> Iterator[Expected]:
    """What a library computed when `make golden` ran last; with `update` it computes, and that is written."""
    path = GOLDEN / f"{library}.npz"
    if not update:
        with np.load(path, allow_pickle=False) as values:
            yield lambda name, compute: values[name]
        return
    values: dict[str, NDArray] = {}

    def record(name: str, compute: Callable[[Any], Any]) -> NDArray:
        assert name not in values, f"two values have the name {name!r}"
        values[name] = np.asarray(compute(theirs))
        return values[name]

    with live(environment, library) as theirs:
        yield record
        np.savez_compressed(path, versions=theirs(), **values)


def pooled_mfcc(librosa: Any, path: Path) -> NDArray:
    """Returns the mean of librosa's 40 MFCCs over the frames of a file: (40,)."""
    waveform, rate_hz = librosa.load(path)
    return librosa.feature.mfcc(y=waveform, sr=rate_hz, n_mfcc=40).mean(axis=1)
