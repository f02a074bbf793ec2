"""Quantities as people read them."""

_SOUND_UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))


def size_text(count: int) -> str:
    """Returns a number of bytes in the unit that suits its size."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{count:,} bytes" if unit == "bytes" else f"{value:,.1f} {unit}"


def rate_text(rate: float) -> str:
    """Returns how many there are a second: with two digits where they are few, as where a large network runs."""
    return f"{rate:,.0f}" if rate == 0 or rate >= 10 else f"{rate:.2g}"


def duration_text(seconds: float) -> str:
    """Returns a duration in the unit that suits its length."""
    if seconds < 120:
        return f"{seconds:,.2f} s"
    return f"{seconds / 60:,.1f} min" if seconds < 7_200 else f"{seconds / 3600:,.2f} h"


def sound_text(seconds: float) -> str:
    """Returns how long sound is, in the largest unit of which there is one at least."""
    number, unit = sound_unit(seconds)
    return f"{seconds / number:,.1f} {unit} of audio"


def sound_unit(seconds: float) -> tuple[float, str]:
    """Returns the seconds and the name of the unit that suits the length of sound."""
    return next((number, unit) for number, unit in _SOUND_UNITS if seconds >= number or number == 1)


def counted(count: int, noun: str, nouns: str = "") -> str:
    """Returns a number with its noun, in the plural, which ends in s unless it is given, where it is not one."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"
