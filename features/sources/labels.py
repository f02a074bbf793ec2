"""Labels as they are taken from folders, names and tables, and those that look alike."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

_NOT_SEEN = "Cf"  # Unicode's category of zero-width spaces, joiners, marks of direction, soft hyphens

_SEPARATOR = re.compile("[;|,]")
_SURE_SEPARATOR = re.compile("[;|]")
_SHOWN_LABELS = 12


def clean_label(text: str | None) -> str | None:
    """Returns a label without the space around it, no-break spaces included; None where nothing is left."""
    return (text or "").strip() or None


def near_labels(label: str, labels: Sequence[str]) -> str:
    """Returns for a message which of some labels are like one that is not among them, or which there are."""
    from difflib import get_close_matches  # only where something is wrong

    by_text: dict[str, str] = {}
    for other in labels:
        by_text.setdefault(other.casefold(), other)
    near = get_close_matches(label.casefold(), by_text, n=3, cutoff=0.6)
    if near:
        return f"near it are {', '.join(map(by_text.__getitem__, near))}"
    more = len(labels) - _SHOWN_LABELS
    return f"there are {', '.join(labels[:_SHOWN_LABELS])}" + (f" and {more:,} more" if more > 0 else "")


def look_alike(labels: Iterable[str]) -> list[list[str]]:
    """Returns the groups of labels that differ in case, spaces, forms of Unicode or signs without a width alone."""
    groups: dict[str, list[str]] = {}
    for label in sorted(labels):
        groups.setdefault(_seen(label), []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def with_separators(labels: Iterable[str]) -> list[str]:
    """Returns the labels that may be several in one field.

    Those with `;` or `|` between two parts, and those with commas each part of which other labels have as well: a comma
    alone may be part of a name.
    """
    parts = {label: [part.strip() for part in _SEPARATOR.split(label) if part.strip()] for label in sorted(labels)}
    times = Counter(part for found in parts.values() for part in set(found))
    return [label for label, found in parts.items() if len(found) > 1
            and (_SURE_SEPARATOR.search(label) or all(times[part] > 1 for part in found))]  # fmt: skip


def alike_text(group: list[str]) -> str:
    """Returns labels that look alike for a message, by their code points where these differ in more than ASCII."""
    return " and ".join(repr(label) if label.isascii() else f"{label!r} ({ascii(label)[1:-1]})" for label in group)


def _seen(label: str) -> str:
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
    return " ".join("".join(sign for sign in text if unicodedata.category(sign) != _NOT_SEEN).split())
