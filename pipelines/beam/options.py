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
    from apache_beam.portability.api.beam_job_api_pb2 import PipelineOptionDescriptor
    from apache_beam.runners.runner import PipelineRunner

_QUOTED_OPTION = re.compile(r"""["'](--[a-zA-Z][\w-]*)["']""")


class _BeamParser(argparse.ArgumentParser):
    """Knows all of Beam's options, and answers wrong ones as soundmill does."""

    def __init__(self, of_server: Sequence["PipelineOptionDescriptor"] = ()) -> None:
        """Takes the options of Beam's Python, and those of a job server that it does not have."""
        from apache_beam.options.pipeline_options import PipelineOptions

        super().__init__(add_help=False, allow_abbrev=False, conflict_handler="resolve")
        for kind in PipelineOptions.__subclasses__():
            kind._add_argparse_args(self)
        for option in of_server:
            if f"--{option.name}" not in self._option_string_actions:
                self._add(option)

    def _add(self, option: "PipelineOptionDescriptor") -> None:
        from apache_beam.portability.api import beam_job_api_pb2

        kinds = beam_job_api_pb2.PipelineOptionType
        # As Beam reads them when it hands over the job.
        if option.type == kinds.BOOLEAN:
            self.add_argument(f"--{option.name}", action="store_true")
        else:
            self.add_argument(f"--{option.name}", type=int if option.type == kinds.INTEGER else str)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"an option of Beam: {message}")


def beam_option_names() -> frozenset[str]:
    """Returns the names of Beam's options, read from its source: to load Beam takes half a second and more."""
    package = importlib.util.find_spec("apache_beam")
    source = Path(str(package and package.origin)).parent / "options" / "pipeline_options.py"
    return frozenset(_QUOTED_OPTION.findall(source.read_text(encoding="utf-8")))


def check_beam_options(beam_options: Sequence[str]) -> None:
    """Raises `UsageError` for options that are neither soundmill's nor Beam's, that have no runner, or none in reach.

    It takes seconds at most, but where a job server has to be started to be asked. Beam is loaded only where there are
    such options.
    """
    if not beam_options:
        return
    options, runner, unknown = _parse(beam_options)
    if runner is None:
        _refuse(unknown, "neither soundmill nor Beam knows it")
        raise UsageError(f"{beam_options[0]} is an option of Beam, which runs where --runner says: add --runner=NAME, "
                         "or leave it out")  # fmt: skip
    from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
    from apache_beam.runners.portability.portable_runner import PortableRunner

    from pipelines.beam import job_server

    if wrong := PipelineOptionsValidator(options, runner).validate():
        raise UsageError(f"an option of Beam: {' '.join(str(wrong[0]).split())}")
    if isinstance(runner, PortableRunner):
        _check_environment(options)
    if not isinstance(runner, PortableRunner) or not job_server.has_job_server(runner, options):
        if type(runner) is PortableRunner:
            raise UsageError("--runner=PortableRunner needs --job_endpoint=HOST:PORT of a job server of Beam")
        _refuse(unknown, "neither soundmill nor Beam knows it")
        return
    job_server.check(runner, options)
    if unknown:
        with job_server.job_server(runner, options) as endpoint:
            known = job_server.known_options(endpoint)
        _refuse(_BeamParser(known).parse_known_args(list(beam_options))[1],
                "neither soundmill nor Beam nor its job server knows it")  # fmt: skip


def parse_options(beam_options: Sequence[str]) -> "PipelineOptions":
    """Reads Beam's options; raises `UsageError` for an option, a value or a runner that Beam does not know.

    Where a runner is named, options that Beam does not know may be its job server's, which `check_beam_options` asks.
    """
    options, runner, unknown = _parse(beam_options)
    if runner is None:
        _refuse(unknown, "neither soundmill nor Beam knows it")
    return options


def _parse(beam_options: Sequence[str]) -> tuple["PipelineOptions", "PipelineRunner | None", list[str]]:
    """Returns the options, the runner that they name, and what Beam's Python does not know."""
    import apache_beam  # noqa: F401  # its runners bring options of their own
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    from apache_beam.runners.runner import create_runner

    # Beam itself only warns of unknown options: a typing error shall not pass for an option of some runner.
    _, unknown = _BeamParser().parse_known_args(list(beam_options))
    options = PipelineOptions(list(beam_options))
    name = options.view_as(StandardOptions).runner
    try:
        return options, create_runner(name) if name else None, unknown
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(f"--runner: {error}") from error


def _refuse(unknown: Sequence[str], why: str) -> None:
    if unknown:
        raise UsageError(f"unrecognized option {unknown[0]}: {why}; see --help")


def _check_environment(options: "PipelineOptions") -> None:
    """Raises `UsageError` where it is not said how workers start, or said in a way that Beam does not know."""
    from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
    from apache_beam.transforms.environments import Environment, ProcessEnvironment

    given = options.view_as(PortableOptions)
    # Without the other options: of some of these Beam makes packages for the workers.
    portable = PipelineOptions(
        environment_type=given.environment_type,
        environment_config=given.environment_config,
        environment_options=given.environment_options,
    )
    try:
        environment = Environment.from_options(portable.view_as(PortableOptions))
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise UsageError(f"--environment_type and what belongs to it: {error}") from error
    if isinstance(environment, ProcessEnvironment) and not environment.command:
        raise UsageError("--environment_type=PROCESS needs the command that starts a worker: "
                         "--environment_option=process_command=COMMAND")  # fmt: skip
