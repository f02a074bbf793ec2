"""How the command that runs was started: by the console script, or as a module."""

import os
import shlex
import sys

SCRIPT = "soundmill"


def command_line(module: str, *arguments: object) -> str:
    """Returns what to type for another command: `soundmill train` for `model.train`, or `python -m model.train`.

    It is the way in which this process was started: where a user has a `model.py`, the second would run that.

    Args:
        module: of the command.
        arguments: that follow it, quoted for a shell.
    """
    by_script = os.path.basename(sys.argv[0]) == SCRIPT
    command = f"{SCRIPT} {module.rpartition('.')[2]}" if by_script else f"python -m {module}"
    return shlex.join([*command.split(), *map(str, arguments)])
