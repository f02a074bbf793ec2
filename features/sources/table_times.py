"""Where clips lie within their files, from the times that a table has in seconds."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from features.sources.table_rows import Rows

ROLES = ("start", "end", "duration")
# Tools that begin a selection at the edge of their picture write times a little before the recording.
_EARLY_SECONDS = 0.1
_MAY_BE_THOUSANDS = re.compile(r"\s*[-+]?[1-9][0-9]{0,2},[0-9]{3}\s*")
_THREE_DIGITS = re.compile(r"\s*[1-9][0-9]{2}\s*")
_SHOWN_SIGNS = 80
_LATEST_SAMPLE = 2**62  # past the end of every recording, and still a 64-bit number


@dataclass(frozen=True)
class Times:
    """The times of a table's rows.

    Attributes:
        seconds: by role, `start`, `end` or `duration`, those of each row; 0 in rows that are wrong.
        wrong: what is wrong with the times of a row, by its number among the rows.
    """

    seconds: Mapping[str, list[float]]
    wrong: Mapping[int, str]

    def frames(self, row: int, rate_hz: int) -> tuple[int, int | None]:
        """Returns the first frame of a row's clip and how many it has, one at least; None for all that follow."""
        start = self._frame("start", row, rate_hz) if "start" in self.seconds else 0
        if "end" in self.seconds:
            return start, max(1, self._frame("end", row, rate_hz) - start)
        if "duration" in self.seconds:
            return start, max(1, self._frame("duration", row, rate_hz))
        return start, None

    def start_seconds(self, row: int) -> float:
        """Returns where a row's clip begins."""
        return self.seconds["start"][row] if "start" in self.seconds else 0

    def _frame(self, role: str, row: int, rate_hz: int) -> int:
        return frame_at(self.seconds[role][row], rate_hz)


def frame_at(seconds: float, rate_hz: int) -> int:
    """Returns the frame of a recording that is nearest to a time that a table has."""
    return round(min(seconds * rate_hz, _LATEST_SAMPLE))


def read_times(rows: Rows, used: Mapping[str, str], points: bool = False) -> Times:
    """Reads the columns of times.

    A comma is a decimal sign, as a point is. A number such as `1,234` may as well be above a thousand, and is wrong,
    where times have points too, or where all of a column's commas stand so and a whole number has none that has three
    digits or more. A start that is at most a tenth of a second before the recording is
    its beginning.

    Args:
        rows: of the table.
        used: the column of each role; those of `ROLES` that are there are read.
        points: whether an end may be the start.
    """
    seconds: dict[str, list[float]] = {}
    wrong: dict[int, str] = {}
    columns = {role: rows.values[used[role]] for role in ROLES if role in used}
    has_points = any("." in text and not math.isnan(_number(text)) for texts in columns.values() for text in texts)
    for role, texts in columns.items():
        column, is_unclear = used[role], has_points or _may_all_be_thousands(texts)
        seconds[role] = [0.0] * len(texts)
        for row, text in enumerate(texts):
            number = math.nan if is_unclear and _MAY_BE_THOUSANDS.fullmatch(text) else _number(text)
            start = seconds["start"][row] if "start" in seconds and role == "end" else 0.0
            if role == "start" and -_EARLY_SECONDS <= number < 0:
                number = 0.0
            if number >= 0 if role == "start" else number > start or (points and number == start):
                seconds[role][row] = number
            else:
                least = "not below 0" if role == "start" else "above the start" if role == "end" else "above 0"
                shown = repr(text[:_SHOWN_SIGNS])
                wrong.setdefault(row, f"the {role} is a number of seconds {least}, but {column!r} is {shown}")
    return Times(seconds, wrong)


def _may_all_be_thousands(texts: Sequence[str]) -> bool:
    """Tells whether commas may be no decimal signs, by a column alone: `950`, `1,250`."""
    with_comma = [text for text in texts if "," in text]
    return (
        bool(with_comma)
        and all(map(_MAY_BE_THOUSANDS.fullmatch, with_comma))
        and any(map(_THREE_DIGITS.fullmatch, texts))
    )


def _number(text: str) -> float:
    """Returns the number that a text is; NaN, which is above and below no other, where it is not a finite one."""
    try:
        number = float(text.replace(",", ".") if "." not in text else text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
