"""Writes the page that runs an ONNX export in a browser."""

import json
from pathlib import Path

from features.io.atomic import write_file

PAGE = "listen.html"
_ASSETS = Path(__file__).parent / "assets"
_PACKAGE = "package.json"


def write_web_page(folder: Path) -> None:
    """Writes `listen.html`, what it needs, and the `package.json` that names its runtime, beside `model.onnx`.

    Args:
        folder: of the export, which exists.
    """
    for path in sorted(_ASSETS.rglob("*")):
        if path.is_file():
            target = folder / path.relative_to(_ASSETS)
            target.parent.mkdir(exist_ok=True)
            write_file(target, path.read_text(encoding="utf-8"))


def runtime() -> tuple[str, str]:
    """Returns the package of npm that the page runs a network by, and its version."""
    [(name, version)] = json.loads((_ASSETS / _PACKAGE).read_text(encoding="utf-8"))["dependencies"].items()
    return name, version
