"""One command in a process of its own, which is what `soundmill.run` runs: its messages come as it says them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from features.errors import RunError, UsageError
from features.runtime.interruption import INTERRUPTED
from features.runtime.processes import python_command, python_environment

_ERROR = "error: "


def run_command(command: str, arguments: Sequence[object], options: Mapping[str, object]) -> dict[str, Any]:
    """Runs a command; see `soundmill.run`."""
    with tempfile.TemporaryDirectory(prefix="soundmill-") as scratch:
        summary = Path(str(options.get("summary") or Path(scratch) / "summary.json"))
        words = [command, *_words({**options, "summary": summary})]
        if arguments:
            words += ["--", *(os.fsdecode(os.fspath(one)) if isinstance(one, os.PathLike) else str(one)
                              for one in arguments)]  # fmt: skip
        code, errors = _follow(words)
        if code == UsageError.exit_code:
            raise UsageError(errors or f"{command} ended with exit code {code}")
        if code:
            raise RunError(errors or f"{command} ended with exit code {code}")
        figures: dict[str, Any] = json.loads(summary.read_bytes()) if summary.exists() else {}
        return figures


def _words(options: Mapping[str, object]) -> Iterator[str]:
    """Returns options as a command line has them: `hop_seconds=1` is `--hop-seconds=1`, and a list one for each."""
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is True:
                yield option
            elif one is not None and one is not False:
                yield f"{option}={os.fspath(one) if isinstance(one, os.PathLike) else one}"


def _follow(words: Sequence[str]) -> tuple[int, str]:
    """Runs a command line and writes what it says to standard output; returns its exit code and its errors."""
    # In a group of its own, so that an interrupt reaches it once: from here.
    process = subprocess.Popen(
        [*python_command("soundmill.command", os.getpid()), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, process_group=0, env=python_environment(PYTHONUNBUFFERED="1"),
        encoding="utf-8", errors="backslashreplace",
    )  # fmt: skip
    errors: list[str] = []
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    try:
        for line in process.stdout:
            if line.startswith(_ERROR):
                errors.append(line.removeprefix(_ERROR).strip())
            sys.stdout.write(line)
            sys.stdout.flush()
        code = process.wait()
    except BaseException:
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        process.wait()
        raise
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code, " ".join(errors)
