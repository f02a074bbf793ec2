"""The console script `soundmill COMMAND ...`: loads the module of the command that is asked for, and no other.

Unlike `python -m`, a console script does not search the current folder for modules. What it starts shall not either, so
that it works in a folder with a `model.py` or a `features/` of the user's own.
"""

import contextlib
import difflib
import importlib
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from features.runtime.interruption import begin_loading
from features.runtime.invocation import SCRIPT
from features.runtime.visible import visible
from features.sources.walk_ahead import begin

COMMANDS = {
    "featurize": ("pipelines.featurize", "compute what is new or changed of a folder or table into shards"),
    "show": ("features.show", "show what a feature set holds, or what the front end makes of one file"),
    "verify": ("features.verify", "check every checksum, row and place of a feature set; repair it"),
    "prune": ("features.prune", "remove what no kept state of a feature set names any more"),
    "publish": ("features.publish", "lay a feature set or its sounds out for the libraries of others"),
    "train": ("model.train", "train a network on a feature set"),
    "tune": ("model.tune", "search for the settings of a network that win"),
    "evaluate": ("model.evaluate", "measure a trained network and show its mistakes"),
    "compare": ("model.compare", "test trained networks on the same clips, side by side"),
    "crossvalidate": ("model.crossvalidate", "train and test a network on every fold of a feature set"),
    "report": ("model.report", "write a page to see and hear what a network gets wrong, or what score found"),
    "predict": ("model.predict", "label a few files and draw why"),
    "export": ("model.export", "write a trained network and its front end as a TensorFlow SavedModel"),
    "quantize": ("model.quantize", "keep a trained network in int8 beside itself, and measure both"),
    "search": ("model.search", "list the clips of a feature set that are most like one"),
    "score": ("pipelines.score", "label a folder, a file or a table of recordings into a CSV or Parquet"),
    "download": ("pipelines.download", "fetch a public data set"),
    "demo": ("pipelines.demo", "run the whole flow on spoken words that it makes itself"),
}
"""Module and description of each command."""

_NEAR = 0.5  # less alike names are not what was meant


def main() -> NoReturn:
    """Runs the command that the process' arguments name, and ends the process with its exit code."""
    begin_loading()
    os.environ["PYTHONSAFEPATH"] = "1"  # Python processes that Beam or multiprocessing starts
    name, *arguments = sys.argv[1:] or [""]
    if name in ("-h", "--help", "--version"):
        with contextlib.suppress(BrokenPipeError):
            print(_version() if name == "--version" else _help(), file=sys.stdout, flush=True)
        sys.exit(0)
    if name not in COMMANDS:
        sys.stderr.write(f"error: {visible(_unknown(name))}; see {SCRIPT} --help\n")
        sys.exit(2)
    if name == "featurize":
        begin(arguments)
    from features.runtime import command  # which loads more than the list of commands needs

    module = importlib.import_module(COMMANDS[name][0])
    command.run(module.main, module.parser(), arguments)


def _help() -> str:
    lines = [f"  {name:13} {description}" for name, (_, description) in COMMANDS.items()]
    return "\n".join([
        f"usage: {SCRIPT} COMMAND ...",
        "",
        "Turns folders of recordings into cached features, a trained network and a labelled CSV.",
        "",
        "commands:",
        *lines,
        "",
        f"{SCRIPT} COMMAND --help lists the options of a command; {SCRIPT} --version the version.",
    ])  # fmt: skip


def _version() -> str:
    try:
        return f"{SCRIPT} {version(SCRIPT)}"
    except PackageNotFoundError:
        return f"{SCRIPT}, not installed"


def _unknown(name: str) -> str:
    if not name:
        return "no command given"
    if name.startswith("-"):
        return f"no option {name} before the command"
    near = difflib.get_close_matches(name, COMMANDS, cutoff=_NEAR)
    return f"no command {name!r}" + (f" (nearest: {', '.join(near)})" if near else "")


if __name__ == "__main__":  # a process of `soundmill.run`, whose own number comes first
    from features.runtime.parent_watch import end_with_parent

    end_with_parent(int(sys.argv.pop(1)))
    sys.argv[0] = SCRIPT  # what it tells to type next is a command of the script
    main()
