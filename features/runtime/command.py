"""How every command behaves: common options, messages, progress, exit codes, the figures of a run."""

import argparse
import contextlib
import gc
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from features.errors import SoundmillError
from features.io.atomic import write_file

LOG = logging.getLogger("soundmill")

_FILE_ONLY = 5  # below what the console shows even with --verbose
_INTERRUPTED = 130  # 128 + SIGINT, as shells count
_BAR_CELLS = 24
_TERMINAL_SECONDS = 0.2
_LOG_SECONDS = 10.0


class _Parser(argparse.ArgumentParser):
    """A parser that answers wrong options in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see python -m {self.prog} --help\n")


def parser(description: str, example: str) -> argparse.ArgumentParser:
    """Returns a command's parser with the options that all commands share, and an example at the end of its help."""
    result = _Parser(
        prog=example.split()[2],
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    group = result.add_argument_group("messages")
    group.add_argument("--summary", metavar="FILE.json", help="write the figures of the run to this file")
    group.add_argument("--verbose", action="store_true", help="tell more while running")
    group.add_argument("--log-file", metavar="FILE", help="append all messages, with times, to this file")
    return result


def run(
    main: Callable[[argparse.Namespace, list[str]], int], arguments: argparse.ArgumentParser, beam: bool = False
) -> None:
    """Runs a command and ends the process with its exit code.

    Args:
        main: takes the parsed options, and those that are Beam's; returns the exit code.
        arguments: the command's parser.
        beam: whether options that the parser does not know are passed on to Beam.
    """
    options, others = arguments.parse_known_args()
    if others and not (beam and others[0].startswith("--")):
        arguments.error(f"unrecognized arguments: {' '.join(others)}")
    if options.summary and not os.path.isdir(os.path.dirname(os.path.abspath(options.summary))):
        arguments.error(f"no folder for --summary {options.summary}")
    _start_log(options.verbose, options.log_file)
    try:
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
    """Ends the process; threads of a pipeline that failed may wait for ever and must not keep it."""
    if code:
        logging.shutdown()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    # What goes with the process is not searched for garbage first, which takes a third of a second after Beam.
    gc.freeze()
    sys.exit(0)


def finish(options: argparse.Namespace, paragraph: str, figures: dict[str, Any]) -> None:
    """Prints the last paragraph of a run and writes its figures where `--summary` asks for them."""
    print(paragraph, flush=True)
    LOG.log(_FILE_ONLY, "%s", paragraph)
    if options.summary:
        write_file(options.summary, json.dumps(figures, indent=1, sort_keys=True) + "\n")


def rejects_sentence(rejects: dict[str, int], table: Path) -> str:
    """Returns what the last paragraph says of files that could not be used.

    Args:
        rejects: files by reason code.
        table: where each stands with its reason.
    """
    if not rejects:
        return " No file was rejected."
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(rejects.items()))
    total = sum(rejects.values())
    return (
        f" {total:,} {'files were' if total > 1 else 'file was'} rejected ({reasons}), each with its reason in {table}."
    )


def warnings_sentence(warnings: dict[str, int], table: Path) -> str:
    """Returns what the last paragraph says of files that are used although they are odd.

    Args:
        warnings: files by what is odd about them.
        table: where it stands of each.
    """
    if not any(warnings.values()):
        return ""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(warnings.items()) if count)
    return f" Used all the same, see {table}: {kinds}."


def size_text(count: int) -> str:
    """Returns a number of bytes in the unit that people would take."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{count:,} bytes" if unit == "bytes" else f"{value:,.1f} {unit}"


def exit_code(rejected: int, max_rejects: int | None) -> int:
    """Returns 3 where more files were rejected than `--max-rejects` allows, else 0."""
    if max_rejects is None or rejected <= max_rejects:
        return 0
    LOG.error("error: %s files were rejected, more than --max-rejects %s", f"{rejected:,}", f"{max_rejects:,}")
    return 3


def is_verbose() -> bool:
    """Tells whether `--verbose` was given."""
    return any(logging.INFO > handler.level > _FILE_ONLY for handler in LOG.handlers)


class Progress:
    """A line with a rate and the time left: redrawn on a terminal, plain lines now and then in a log."""

    def __init__(self, name: str, total: int, unit: str) -> None:
        """Starts the clock.

        Args:
            name: what is going on.
            total: how many units there are.
            unit: what is counted, in the plural.
        """
        self._name, self._total, self._unit = name, total, unit
        self._started = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._drawn = False

    def update(self, done: int, note: str = "") -> None:
        """Says that `done` units are finished; draws only as often as somebody can read."""
        now = time.monotonic()
        if now - self._shown < (_TERMINAL_SECONDS if self._terminal else _LOG_SECONDS):
            return
        self._shown = now
        rate = done / max(now - self._started, 1e-9)
        left = f", {_duration((self._total - done) / rate)} left" if rate else ""
        text = f"{self._name}: {done:,} of {self._total:,} {self._unit}, {rate:,.0f} a second{left}{note}"
        if self._terminal:
            filled = _BAR_CELLS * done // max(self._total, 1)
            print(f"\r\x1b[K[{'#' * filled}{'.' * (_BAR_CELLS - filled)}] {text}", end="", file=sys.stderr, flush=True)
            self._drawn = True
        else:
            LOG.info("%s", text)

    def close(self) -> None:
        """Clears the line on a terminal."""
        if self._drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._drawn = False


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _start_log(verbose: bool, log_file: str | None) -> None:
    console = logging.StreamHandler()
    console.setLevel(logging.DEBUG if verbose else logging.INFO)
    console.setFormatter(logging.Formatter("%(message)s"))
    LOG.setLevel(_FILE_ONLY)
    LOG.propagate = False
    LOG.handlers = [console]
    if log_file:
        try:
            file = logging.FileHandler(log_file, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            LOG.error("error: cannot write --log-file %s: %s", log_file, error.strerror)
            sys.exit(2)
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        LOG.addHandler(file)
    if not verbose:
        # Both are talkative about themselves; their errors still come as exceptions.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
        logging.getLogger().addHandler(logging.NullHandler())
