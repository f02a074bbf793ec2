"""BirdNET's network as a front end, for benchmarks: where its file lies, and the specs that are measured."""

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path

from features.errors import UsageError
from features.io.atomic import write_file

PRESET = "birdnet-2.4"
NETWORK = "BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"
Fields = Mapping[str, str | float]


def add_network_file(parser: argparse.ArgumentParser) -> None:
    """Adds the option that names the file of the network, by default where `make birdnet` puts it."""
    folder = Path(os.environ.get("SOUNDMILL_BIRDNET") or Path(__file__).parents[1] / ".birdnet")
    parser.add_argument(
        "--network-file", type=Path, default=folder / NETWORK, help="BirdNET 2.4 (%(default)s; `make birdnet`)"
    )


def write_spec(path: Path, fields: Fields, network_file: Path) -> Path:
    """Writes a spec of the preset with fields of its own, and returns its path.

    Raises:
        UsageError: the network is not there.
    """
    if not network_file.exists():
        raise UsageError(f"{network_file} is missing; `make birdnet` fetches it, or name it with --network-file")
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = {"preset": PRESET, "network_file": str(network_file.resolve()), **fields}
    write_file(path, "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items()))
    return path
