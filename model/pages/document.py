"""A page as one file of HTML: a template, its data, and the scripts and styles that it runs by."""

import base64
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from features.errors import UsageError
from features.io.filesystem import filesystem_of, place
from features.io.local_copy import check_file_place

_FOLDER = Path(__file__).parent
# Before those of the page.
_SCRIPTS = ("vendor/uPlot.iife.min.js", "assets/common.js", "assets/clips.js", "assets/review.js")
_STYLES = ("vendor/uPlot.min.css", "assets/page.css")
# In a text of JSON within HTML: the first three could end it or begin another element, the others end a line of script.
_ESCAPED = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
_DIGEST_CHARACTERS = 16


def render(template: str, data: Mapping[str, Any], scripts: Sequence[str] = (), **shown: Any) -> str:
    """Returns a page.

    Its policy lets it run the scripts and styles that stand in it, show the pictures and play the sounds of its data,
    and nothing else: no request leaves it.

    Args:
        template: name of a file in `templates/`, which extends `base.html.j2`.
        data: what its scripts read, ready for JSON; it must have `title`.
        scripts: names of files in `assets/` that run after those of all pages.
        shown: further variables of the template; text is escaped.

    Returns:
        The text of the file. The same arguments make the same text.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    content = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_ESCAPED)
    content = _as_text(content)
    script_texts = [_asset(name) for name in (*_SCRIPTS, *(f"assets/{name}" for name in scripts))]
    style_texts = [_asset(name) for name in _STYLES]
    page = environment.get_template(template).render(
        data=data,
        content=content,
        digest=hashlib.sha256(content.encode()).hexdigest()[:_DIGEST_CHARACTERS],
        policy=_policy(script_texts, style_texts),
        scripts=script_texts,
        styles=style_texts,
        **shown,
    )
    return _as_text(page)


def _as_text(text: str) -> str:
    """Returns a text as a file of UTF-8 can hold it: a byte of a name that is no text has its escape there."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def check_page(option: str, path: str) -> None:
    """Raises `UsageError` where no page can be written to what a command's option names."""
    if not path.lower().endswith(".html"):
        raise UsageError(f"{option} is a page whose name ends in .html, not {path}")
    if filesystem_of(path).is_local:
        check_file_place(option, path)


def write_page(path: str, page: str) -> int:
    """Writes a page to a path or an object of a store, whole, and returns how many bytes it has."""
    content = page.encode("utf-8")
    filesystem_of(path).write(place(path), content)
    return len(content)


def _policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Returns a content security policy that knows scripts and styles by their hashes."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src " + " ".join(map(_source, scripts)),
            "style-src " + " ".join(map(_source, styles)),
            "img-src data: blob:",
            "media-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@functools.cache
def _asset(name: str) -> str:
    """Reads a file of scripts or styles as it stands in a page, where a browser makes each end of a line one feed."""
    return (_FOLDER / name).read_text(encoding="utf-8").strip("\n")
