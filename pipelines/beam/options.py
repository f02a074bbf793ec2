"""Options that are Beam's. Importing this loads no Beam, so that a command that has none of them starts without it."""

import argparse
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from features.errors import UsageError

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_QUOTED_OPTION = re.compile(r"""["'](--[a-zA-Z][\w-]*)["']""")


class _BeamParser(argparse.ArgumentParser):
    """Knows all of Beam's options, and answers wrong ones as soundmill does."""

    def __init__(self) -> None:
        from apache_beam.options.pipeline_options import PipelineOptions

        super().__init__(add_help=False, allow_abbrev=False, conflict_handler="resolve")
        for kind in PipelineOptions.__subclasses__():
            kind._add_argparse_args(self)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"an option of Beam: {message}")


def beam_option_names() -> frozenset[str]:
    """Returns the names of Beam's options, read from its source: to load Beam takes half a second and more."""
    package = importlib.util.find_spec("apache_beam")
    source = Path(str(package and package.origin)).parent / "options" / "pipeline_options.py"
    return frozenset(_QUOTED_OPTION.findall(source.read_text(encoding="utf-8")))


def check_beam_options(beam_options: Sequence[str]) -> None:
    """Raises `UsageError` for options that are neither soundmill's nor Beam's; loads Beam only where there are any."""
    if beam_options:
        parse_options(beam_options)


def parse_options(beam_options: Sequence[str]) -> "PipelineOptions":
    """Reads Beam's options; raises `UsageError` for an option, a value or a runner that Beam does not know."""
    import apache_beam  # noqa: F401  # its runners bring options of their own
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    from apache_beam.runners.runner import create_runner

    # Beam itself only warns of unknown options: a typing error shall not pass for an option of some runner.
    _, unknown = _BeamParser().parse_known_args(list(beam_options))
    if unknown:
        raise UsageError(f"unrecognized option {unknown[0]}: neither soundmill nor Beam knows it; see --help")
    options = PipelineOptions(list(beam_options))
    runner = options.view_as(StandardOptions).runner
    try:
        if runner:
            create_runner(runner)
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(f"--runner: {error}") from error
    return options
