"""Where clips lie within their files, from the times that a table has in seconds."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from features.sources.table_rows import Rows

ROLES = ("start", "end", "duration")
# Tools that begin a selection at the edge of their picture write times a little before the recording.
_EARLY_SECONDS = 0.1
_MAY_BE_THOUSANDS = re.compile(r"\s*[-+]?[1-9][0-9]{0,2},[0-9]{3}\s*")
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
        return round(min(self.seconds[role][row] * rate_hz, _LATEST_SAMPLE))


def read_times(rows: Rows, used: Mapping[str, str]) -> Times:
    """Reads the columns of times.

    A comma is a decimal sign, as a point is; a number such as `1,234`, in a column that has numbers with a point too,
    may as well be above a thousand, and is wrong. A start that is at most a tenth of a second before the recording is
    its beginning.

    Args:
        rows: of the table.
        used: the column of each role; those of `ROLES` that are there are read.
    """
    seconds: dict[str, list[float]] = {}
    wrong: dict[int, str] = {}
    for role in ROLES:
        if role not in used:
            continue
        column = used[role]
        texts = rows.values[column]
        has_points = any("." in text and not math.isnan(_number(text)) for text in texts)
        seconds[role] = [0.0] * len(texts)
        for row, text in enumerate(texts):
            number = math.nan if has_points and _MAY_BE_THOUSANDS.fullmatch(text) else _number(text)
            start = seconds["start"][row] if "start" in seconds and role == "end" else 0.0
            if role == "start" and -_EARLY_SECONDS <= number < 0:
                number = 0.0
            if number >= 0 if role == "start" else number > start:
                seconds[role][row] = number
            else:
                least = "not below 0" if role == "start" else "above the start" if role == "end" else "above 0"
                wrong.setdefault(row, f"the {role} is a number of seconds {least}, but {column!r} is {text!r}")
    return Times(seconds, wrong)


def _number(text: str) -> float:
    """Returns the number that a text is; NaN, which is above and below no other, where it is not a finite one."""
    try:
        number = float(text.replace(",", ".") if "." not in text else text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
