"""A list of labels that are allowed, as those of a place and a season are: a text file, a label a line."""

import csv
import io
import itertools
import os
from collections.abc import Iterator, Sequence

from features.errors import UsageError
from features.io.csv_text import read_csv_label
from features.io.filesystem import is_uri
from features.io.local_copy import local_copy
from features.io.text_encoding import text_encoding
from features.sources.labels import near_labels

_COMMENT, _QUOTE = "#", '"'


def read_allowed_labels(path: str, classes: Sequence[str]) -> list[int]:
    """Returns which classes a file of labels allows, by their numbers, in their order.

    A label stands on a line of its own, as it is or as a CSV of labels has it: within quotes, or with a `'` before what
    looks like a formula. Empty lines, and those that begin with `#`, say nothing; a label that begins with it stands
    within quotes.

    Args:
        path: of the file, or its place in a store: UTF-8, or UTF-16 as Windows programs write it.
        classes: of the model.

    Raises:
        UsageError: the file cannot be read, names a label that the model has not, or names none.
    """
    numbers = {label: number for number, label in enumerate(classes)}
    allowed: set[int] = set()
    for line, label in _labels(_read(path)):
        if label not in numbers:
            raise UsageError(f"--only-labels {path}, line {line}: the model has no label {label!r}; "
                             f"{near_labels(label, classes)}")  # fmt: skip
        allowed.add(numbers[label])
    if not allowed:
        raise UsageError(f"--only-labels {path} allows no label: it has no line that names one")
    return sorted(allowed)


def _read(path: str) -> str:
    if not is_uri(path) and os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise UsageError(f"--only-labels {path} is a pipe or a device, which cannot be read twice; write it to a file")
    try:
        with local_copy(path) as copied, open(copied, encoding=text_encoding(copied), newline="") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"cannot read --only-labels {path}: {error.strerror or error}") from error
    except UnicodeError as error:
        raise UsageError(f"--only-labels {path} is not a text file in UTF-8: {error}") from error


def _labels(text: str) -> Iterator[tuple[int, str]]:
    """Yields the number of the line of each label, and the label."""
    lines = enumerate(io.StringIO(text, newline=""), start=1)
    for number, line in lines:
        label = line.strip()
        if not label or label.startswith(_COMMENT):
            continue
        if label.startswith(_QUOTE):
            # Of the lines that follow it takes those that are within the quotes too.
            (label,) = next(csv.reader(itertools.chain([line.strip(" \t")], (more for _, more in lines))))[:1]
        yield number, read_csv_label(label)
