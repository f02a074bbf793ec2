"""How every command behaves: common options, exit codes, the last paragraph and the figures of a run."""

import argparse
import contextlib
import gc
import itertools
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NoReturn

from features.errors import SoundmillError
from features.io.atomic import write_file
from features.io.temporary import remove_temporary_folder
from features.runtime.interruption import INTERRUPTED, MESSAGE, end_loading
from features.runtime.invocation import command_line
from features.runtime.log import FILE_ONLY, LOG, start_log
from features.runtime.no_pandas import keep_pandas_out
from features.runtime.progress import clearing_bars
from features.runtime.visible import print_lines, visible

_EXPECTED = re.compile(r"argument (?:\S+/)?(--\S+): expected one argument")
_OPTION = re.compile("--?[a-zA-Z]")  # a hyphen and a digit begin a number
_owned = False


class _Parser(argparse.ArgumentParser):
    """A parser that answers wrong options in one line.

    Attributes:
        further: returns the options that it does not know and passes on, None where it passes none on.
    """

    further: Callable[[], Collection[str]] | None = None
    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Returns the options, and those that are passed on; ends the process with 2 for what is neither.

        An option that is not known is answered before argparse misses one: it may be the one that is missing.
        """
        given = sys.argv[1:] if args is None else list(args)
        self._given = given
        self._check_names(given)
        options, others = super().parse_known_args(given, namespace)
        if others and not (self.further and others[0].startswith("--")):
            self.error(f"unrecognized arguments: {' '.join(others)}")
        return options, others

    def _check_names(self, given: Sequence[str]) -> None:
        own = self._option_string_actions
        before = given[: given.index("--")] if "--" in given else given  # what follows are names of files
        names = [text.partition("=")[0] for text in before if _OPTION.match(text)]
        unknown = [name for name in names if name not in own and " " not in name]
        if not unknown:
            return
        if self.further and "--runner" in names:
            return  # who reads Beam's options asks the runner, which may know more than Beam's Python
        further = self.further() if self.further else ()
        for name in unknown:
            if name not in further:
                near = nearest_option(name, own) or nearest_option(name, further)
                meant = f" (did you mean {near}?)" if near else ""
                whose = ": neither soundmill nor Beam knows it" if self.further else ""
                self.error(f"unrecognized option {name}{meant or whose}")

    def error(self, message: str) -> NoReturn:
        option = _EXPECTED.fullmatch(message)
        if option and any(name == option[1] and value[:1] == "-" and value not in self._option_string_actions
                          for name, value in itertools.pairwise(self._given)):  # fmt: skip
            message += f" (one that begins with a hyphen is given so: {option[1]}=-VALUE)"
        self.exit(2, f"error: {visible(message)}; see {self.prog} --help\n")


def nearest_option(name: str, known: Iterable[str]) -> str | None:
    """Returns the option that was probably meant by one that is not known, None where none is like it."""
    from difflib import get_close_matches  # only where something is wrong

    # Without the hyphens before and between the words, which all have in common or are typed as underscores.
    by_word = {option.strip("-").replace("_", "-"): option for option in known if option.startswith("--")}
    word = name.strip("-").replace("_", "-").lower()
    for match in get_close_matches(word, by_word, n=1):
        return by_word[match]
    return next((option for text, option in by_word.items() if word and word in text.split("-")), None)


def parser(
    description: str, *examples: str, further: Callable[[], Collection[str]] | None = None
) -> argparse.ArgumentParser:
    """Returns a command's parser with the options that all commands share.

    Args:
        description: what the command does.
        examples: for the end of its help, each `python -m MODULE ...`.
        further: returns the names of Beam's options, where those that the parser does not know are passed on to Beam.
    """
    module = examples[0].split()[2]
    prog = command_line(module)
    epilog = "example:" + "".join(f"\n  {prog}{example.removeprefix(f'python -m {module}')}" for example in examples)
    if further:
        epilog += "\n\nOptions that are not listed go to Beam, e.g. --runner=FlinkRunner --flink_master=HOST:PORT."
    result = _Parser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.further = further
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
    global _owned
    _owned = True
    options, others = arguments.parse_known_args(given)
    if options.summary and not os.path.isdir(os.path.dirname(os.path.abspath(options.summary))):
        arguments.error(f"no folder for --summary {options.summary}")
    start_log(options.verbose, options.log_file)
    keep_pandas_out()
    try:
        end_loading()
        with clearing_bars():
            code = main(options, others)
    except BaseException as error:
        code = _answer(error, options.verbose)
    _end(code)


def owns_process() -> bool:
    """Returns whether this process runs a command and nothing else, from `run` on."""
    return _owned


def _answer(error: BaseException, verbose: bool) -> int:
    """Says what ended a command and returns its exit code; raises what is a fault of the code."""
    if _is_interrupt(error):
        LOG.error(MESSAGE)
        return INTERRUPTED
    if isinstance(error, SoundmillError):
        LOG.error("error: %s", error)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        return 1
    if isinstance(error, OSError):
        LOG.error("error: %s", error, exc_info=verbose)
        return 1
    raise error


def _is_interrupt(error: BaseException | None) -> bool:
    """Tells an interrupt, and what came of it where something was left open: an archive cannot be closed then."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _end(code: int) -> NoReturn:
    """Ends the process; threads of a pipeline that failed may wait forever and must not keep it."""
    if code:
        remove_temporary_folder()
        logging.shutdown()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    # Nothing is garbage-collected at the end of the process, which takes a third of a second after Beam.
    gc.freeze()
    sys.exit(0)


def finish(options: argparse.Namespace, paragraph: str | list[str], figures: dict[str, Any]) -> None:
    """Prints the last paragraph of a run, one line or several, and writes its figures where `--summary` says."""
    lines = [paragraph] if isinstance(paragraph, str) else paragraph
    print_lines(lines)
    for line in lines:
        LOG.log(FILE_ONLY, "%s", line)
    if options.summary:
        write_file(options.summary, json.dumps(figures, indent=1, sort_keys=True) + "\n")


def exit_code(rejected: int, max_rejects: int | None) -> int:
    """Returns 3 where more files were rejected than `--max-rejects` allows, else 0."""
    if max_rejects is None or rejected <= max_rejects:
        return 0
    LOG.error("error: %s files were rejected, more than --max-rejects %s", f"{rejected:,}", f"{max_rejects:,}")
    return 3
