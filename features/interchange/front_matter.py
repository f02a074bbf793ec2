"""The lines of YAML at the head of a dataset card."""

from typing import Any

_ESCAPES = {'"': '\\"', "\\": "\\\\"}


def front_matter(content: dict[str, Any]) -> str:
    """Returns nested dicts and lists of text and numbers as YAML between two lines of `---`; texts are in quotes."""
    return "\n".join(["---", *_lines(content), "---", ""])


def _lines(value: dict[str, Any] | list[Any]) -> list[str]:
    lines: list[str] = []
    items = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    for key, item in items:
        head = "-" if key is None else f"{_quoted(key) if key.isdigit() else key}:"
        if not isinstance(item, dict | list):
            lines.append(f"{head} {_scalar(item)}")
        elif not item:
            lines.append(f"{head} {'{}' if isinstance(item, dict) else '[]'}")
        elif key is None:
            inner = _lines(item)
            lines += [f"- {inner[0]}", *(f"  {line}" for line in inner[1:])]
        else:
            lines += [head, *(f"  {line}" for line in _lines(item))]
    return lines


def _scalar(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    """Returns a text as YAML has it within double quotes; what is not printable stands by its code."""
    return f'"{"".join(map(_character, text))}"'


def _character(character: str) -> str:
    code = ord(character)
    if character in _ESCAPES or character.isprintable():
        return _ESCAPES.get(character, character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
