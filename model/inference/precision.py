"""A run's network in float32, which each has, and in int8, which `model.quantize` makes of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from features.errors import UsageError
from features.io.atomic import write_file
from features.runtime.invocation import command_line
from model.inference.artifact import DESCRIPTION_FILE, FOLDER, read_description, read_litert
from model.inference.artifact_description import ArtifactDescription
from model.inference.int8_network import Int8Network

PRECISIONS = ("float32", "int8")
"""In what a network may be run, the default first."""
_INT8_FILE = "network-int8.tflite"


def network_sha256(run: str | Path, description: ArtifactDescription, precision: str) -> str:
    """Returns the digest that names a run's network in one of `PRECISIONS`.

    Raises:
        UsageError: the run has no such network.
    """
    return description.network_sha256 if precision == PRECISIONS[0] else _int8(run, description).sha256


def read_network(run: str | Path, description: ArtifactDescription, precision: str) -> bytes:
    """Returns a run's network for `model.inference.executor`.

    Args:
        run: the run folder.
        description: what `read_description` returns.
        precision: one of `PRECISIONS`.

    Raises:
        UsageError: the artifact is damaged, or has no such network.
    """
    if precision == PRECISIONS[0]:
        return read_litert(run, description)
    path = Path(run) / FOLDER / _INT8_FILE
    expected, content = _int8(run, description).sha256, path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != expected:
        raise UsageError(f"{path} is missing or not the network that {DESCRIPTION_FILE} describes; "
                         f"make it again with {_quantize(run)}")  # fmt: skip
    return content


def save_int8(run: str | Path, content: bytes, measured: Mapping[str, Any]) -> None:
    """Keeps a run's network in int8, in the place of an earlier one.

    Args:
        run: the run folder.
        content: a flat buffer, as `model.formats.int8.quantize` gives it.
        measured: see `Int8Network`.
    """
    folder = Path(run) / FOLDER
    write_file(folder / _INT8_FILE, content)
    int8 = Int8Network(hashlib.sha256(content).hexdigest(), measured)
    write_file(folder / DESCRIPTION_FILE, replace(read_description(run), int8=int8).to_json())


def _int8(run: str | Path, description: ArtifactDescription) -> Int8Network:
    if description.int8 is None:
        raise UsageError(f"{run} has no network in int8; make one with {_quantize(run)}")
    return description.int8


def _quantize(run: str | Path) -> str:
    return f"{command_line('model.quantize', '--model', run)} --features FEATURES"
