"""Quantities as people read them."""


def size_text(count: int) -> str:
    """Returns a number of bytes in the unit that suits its size."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{count:,} bytes" if unit == "bytes" else f"{value:,.1f} {unit}"


def duration_text(seconds: float) -> str:
    """Returns a duration in the unit that suits its length."""
    if seconds < 120:
        return f"{seconds:,.2f} s"
    return f"{seconds / 60:,.1f} min" if seconds < 7_200 else f"{seconds / 3600:,.2f} h"


def sound_text(seconds: float) -> str:
    """Returns how long sound is: in hours, and less than one in minutes."""
    return f"{seconds / 3600:,.1f} h of audio" if seconds >= 3600 else f"{seconds / 60:,.1f} min of audio"


def counted(count: int, noun: str, nouns: str = "") -> str:
    """Returns a number with its noun, in the plural, which ends in s unless it is given, where it is not one."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"
