"""How every command behaves: common options, exit codes, the last paragraph and the figures of a run."""

import argparse
import contextlib
import gc
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from features.errors import SoundmillError
from features.io.atomic import write_file
from features.runtime.invocation import command_line
from features.runtime.log import FILE_ONLY, LOG, start_log
from features.runtime.progress import clearing_bars

_INTERRUPTED = 130  # 128 + SIGINT, as shells count


class _Parser(argparse.ArgumentParser):
    """A parser that answers wrong options in one line.

    Attributes:
        beam: whether options that it does not know are passed on to Beam.
    """

    beam = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Returns the options, and those that are Beam's; ends the process with 2 for what neither knows."""
        options, others = super().parse_known_args(args, namespace)
        if others and not (self.beam and others[0].startswith("--")):
            self.error(f"unrecognized arguments: {' '.join(others)}")
        return options, others

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def parser(description: str, *examples: str, beam: bool = False) -> argparse.ArgumentParser:
    """Returns a command's parser with the options that all commands share.

    Args:
        description: what the command does.
        examples: for the end of its help, each `python -m MODULE ...`.
        beam: whether options that the parser does not know are passed on to Beam.
    """
    module = examples[0].split()[2]
    prog = command_line(module)
    epilog = "example:" + "".join(f"\n  {prog}{example.removeprefix(f'python -m {module}')}" for example in examples)
    if beam:
        epilog += "\n\nOptions that are not listed go to Beam, e.g. --runner=FlinkRunner --flink_master=HOST:PORT."
    result = _Parser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.beam = beam
    group = result.add_argument_group("messages")
    group.add_argument("--summary", metavar="FILE.json", help="write the figures of the run to this file")
    group.add_argument("--verbose", action="store_true", help="show more messages while running")
    group.add_argument("--log-file", metavar="FILE", help="append all messages, with times, to this file")
    return result


def run(
    main: Callable[[argparse.Namespace, list[str]], int],
    arguments: argparse.ArgumentParser,
    given: Sequence[str] | None = None,
) -> NoReturn:
    """Runs a command and ends the process with its exit code.

    Args:
        main: takes the parsed options, and those that are Beam's; returns the exit code.
        arguments: the command's parser.
        given: the command line behind the command's name, None for that of the process.
    """
    options, others = arguments.parse_known_args(given)
    if options.summary and not os.path.isdir(os.path.dirname(os.path.abspath(options.summary))):
        arguments.error(f"no folder for --summary {options.summary}")
    start_log(options.verbose, options.log_file)
    try:
        with clearing_bars():
            code = main(options, others)
    except SoundmillError as error:
        LOG.error("error: %s", error)
        code = error.exit_code
    except KeyboardInterrupt:
        LOG.error("interrupted; nothing half-written stands under its final name")
        code = _INTERRUPTED
    except BrokenPipeError:
        code = 1
    except OSError as error:
        LOG.error("error: %s", error, exc_info=options.verbose)
        code = 1
    _end(code)


def _end(code: int) -> NoReturn:
    """Ends the process; threads of a pipeline that failed may wait forever and must not keep it."""
    if code:
        logging.shutdown()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    # Nothing is garbage-collected at the end of the process, which takes a third of a second after Beam.
    gc.freeze()
    sys.exit(0)


def finish(options: argparse.Namespace, paragraph: str, figures: dict[str, Any]) -> None:
    """Prints the last paragraph of a run and writes its figures where `--summary` says."""
    print(paragraph, flush=True)
    LOG.log(FILE_ONLY, "%s", paragraph)
    if options.summary:
        write_file(options.summary, json.dumps(figures, indent=1, sort_keys=True) + "\n")


def exit_code(rejected: int, max_rejects: int | None) -> int:
    """Returns 3 where more files were rejected than `--max-rejects` allows, else 0."""
    if max_rejects is None or rejected <= max_rejects:
        return 0
    LOG.error("error: %s files were rejected, more than --max-rejects %s", f"{rejected:,}", f"{max_rejects:,}")
    return 3
