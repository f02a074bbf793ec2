"""A command that waits in the middle of its work, so that a test finds it there on a machine of any speed and load.

As a command: python -m tests.held FOLDER CALLS FUNCTION MODULE OPTION...
"""

import functools
import importlib
import itertools
import runpy
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

# What is called for each piece of a command's work, in the process that does it.
SHARD = "features.update.build_in_turn:ShardsInTurn.work"
BATCH = "model.scoring.label_windows:LabelJob.label"
EPOCH = "model.training.history:write_history"  # at its end, before its line is written


def held_at(folder: Path, calls: Collection[int], function: str, module: str) -> tuple[str, str, str, str, str]:
    """Returns what stands for a module, as `start_command` takes it, of a command that waits before those calls.

    Each of its processes counts its own calls, from 1, and waits before call N of them until `folder` has a file N.
    """
    return "tests.held", str(folder), ",".join(map(str, calls)), function, module


def let_go(folder: Path, call: int) -> None:
    """Lets what waits before this call go on."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(call)).touch()


def _waiting(function: Callable[..., Any], folder: Path, calls: Collection[int]) -> Callable[..., Any]:
    numbers = itertools.count(1)

    @functools.wraps(function)
    def wait_and_call(*arguments: Any, **named: Any) -> Any:
        number = next(numbers)
        while number in calls and not (folder / str(number)).exists():
            time.sleep(0.01)
        return function(*arguments, **named)

    return wait_and_call


if __name__ == "__main__":
    _folder, _calls, _function, _module, *_options = sys.argv[1:]
    _place, _, _path = _function.partition(":")
    *_classes, _last = _path.split(".")
    _owner = functools.reduce(getattr, _classes, importlib.import_module(_place))
    setattr(_owner, _last, _waiting(getattr(_owner, _last), Path(_folder), set(map(int, _calls.split(",")))))
    sys.argv = [_module, *_options]
    runpy.run_module(_module, run_name="__main__", alter_sys=True)
