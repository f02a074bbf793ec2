"""Cards in Markdown with a head in YAML, in which names and labels stay text."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from features.runtime.visible import visible

# What CommonMark, and GitHub's tables, links, names and numbers, take for more than text within a line: a backslash
# before it is no part of the text.
_MARKUP = re.compile(r"[\\`*_{}\[\]<>()#!|~&$:@^]|(?<=www)\.", re.IGNORECASE)
# What YAML allows in no stream (YAML 1.2, rule 1), or takes for the end of a line or of a character's bytes; as JSON
# writes them, YAML reads them within double quotes.
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_PLAIN_KEY = re.compile(r"[a-z][a-z0-9_-]*")


def markdown_text(text: str) -> str:
    """Returns a name or a label as it stands in a cell, a heading or a line of Markdown, not at the beginning of that.

    It is text there, with its controls as escapes.
    """
    escaped = _MARKUP.sub(r"\\\g<0>", visible(text))
    # At an end of a line or a cell a blank is no part of the text, and several of them are one.
    return re.sub(r"^\s|\s$|(?<=\s)\s", lambda blank: f"&#{ord(blank[0])};", escaped)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table as GitHub and Hugging Face draw it; cells are Markdown, the first column's to the left.

    Args:
        header: of the columns.
        rows: as many cells each.
    """
    rule = [":--", *("--:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def front_matter(content: Mapping[str, Any]) -> str:
    """Returns the head of a card: a mapping of JSON's kinds as YAML, its texts within quotes.

    Keys consist of lower letters, digits, `_` and `-`. A mapping or a list that is empty is left out.
    """
    return "\n".join(("---", *_lines(content), "---", ""))


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        lines = []
        for key, inner in value.items():
            if not _PLAIN_KEY.fullmatch(key):
                raise ValueError(
                    f"a key of a card's head consists of lower letters, digits, _ and -, and is not {key!r}"
                )
            if isinstance(inner, Mapping | list):
                below = _lines(inner)
                lines += [f"{key}:", *(f"  {line}" for line in below)] if below else []
            else:
                lines.append(f"{key}: {_scalar(inner)}")
        return lines
    items = [_lines(item) if isinstance(item, Mapping | list) else [_scalar(item)] for item in value]
    return [line for first, *rest in filter(None, items) for line in (f"- {first}", *(f"  {line}" for line in rest))]


def _scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if isinstance(value, float) and "." not in text:
        text = text.replace("e", ".0e")  # YAML 1.1, which Python's readers go by, takes 1e-07 for a text
    return _NOT_IN_YAML.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)
