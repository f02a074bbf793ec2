"""Checks Beam's options without loading Beam where there are none."""

from collections.abc import Sequence


def check_beam_options(beam_options: Sequence[str]) -> None:
    """Raises `UsageError` for options that are neither soundmill's nor Beam's; loads Beam only where there are any."""
    if beam_options:
        from pipelines.runners import parse_options

        parse_options(beam_options)
