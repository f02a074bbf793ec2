"""onnxruntime-web for the tests of the page of an ONNX export; `make browser` fetches it by npm through this module.

The page names package and version, which a user's `npm install` fetches. Here two of its files do, out of the package
as npm packs it, once that has the digest below.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from model.formats.web.page import runtime

# The folder that has `node_modules`; where the variable names it, a test that lacks it fails instead of being skipped.
VARIABLE = "SOUNDMILL_ORT_WEB"
FOLDER = Path(os.environ.get(VARIABLE) or Path(__file__).parents[1] / ".ort-web")
_SHA512 = (
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
_FILES = ("dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm", "package.json")
_SECONDS = 300


def place() -> Path:
    """Returns where the package lies, or is to lie."""
    name, _ = runtime()
    return FOLDER / "node_modules" / name


def missing() -> str:
    """Returns what a test is skipped with, nothing where the files are there."""
    if all((place() / name).exists() for name in _FILES):
        return ""
    return f"{FOLDER} has no {' '.join(runtime())}: run `make browser`, which takes npm and a network"


def fetch() -> str:
    """Fetches the files where that can be done, and returns a sentence on what came of it."""
    package = "@".join(runtime())
    if not missing():
        return f"The runtime of the tests in a browser is {package}, in {FOLDER}."
    if not shutil.which("npm"):
        return f"There is no {package} to test with, and no npm to fetch it: install Node.js."
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", package, "--pack-destination", folder, "--silent", "--ignore-scripts"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            return f"There is no {package} to test with: `npm pack` took more than {_SECONDS} s."
        packed = list(Path(folder).glob("*.tgz"))
        if done.returncode or not packed:
            said = done.stderr.strip().splitlines() or ["it gives no reason"]
            return f"There is no {package} to test with: `npm pack` failed: {said[-1]}"
        if hashlib.sha512(packed[0].read_bytes()).hexdigest() != _SHA512:
            raise SystemExit(f"{package}: npm gives another package than it did; {FOLDER} stays without it")
        with tarfile.open(packed[0]) as archive:
            members = [archive.getmember(f"package/{name}") for name in _FILES]
            archive.extractall(folder, members, filter="data")
        shutil.rmtree(place(), ignore_errors=True)
        place().parent.mkdir(parents=True, exist_ok=True)
        shutil.move(Path(folder) / "package", place())
    return fetch()


if __name__ == "__main__":
    print(fetch())
