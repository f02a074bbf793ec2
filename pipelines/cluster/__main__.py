"""A cluster on this machine: python -m pipelines.cluster start | stop | status | build."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
import shlex
from pathlib import Path

from features.runtime import command
from features.runtime.log import LOG
from features.runtime.quantities import counted
from pipelines.cluster.cluster import Cluster
from pipelines.cluster.jars import ENGINES, build_jar
from pipelines.cluster.marked import marked
from pipelines.cluster.members import Size

EXAMPLE = "python -m pipelines.cluster start --taskmanagers 2 --slots 1"


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser(
        "Starts a cluster on this machine, to run featurize and score on Flink or Spark; stops it with all it left.",
        EXAMPLE, "python -m pipelines.cluster stop",
    )  # fmt: skip
    result.add_argument("action", choices=("start", "stop", "status", "build"), help="build: its jar alone, by Maven")
    result.add_argument("--folder", default=".cluster", metavar="DIR", help="its jar, logs, temporary files (.cluster)")
    result.add_argument("--engine", choices=ENGINES, default="flink", help="what runs the jobs (%(default)s)")
    result.add_argument("--taskmanagers", type=int, metavar="N", help="processes that run tasks (2; with Spark 1)")
    result.add_argument("--slots", type=int, metavar="N", help="tasks at once in each of them (1; with Spark 2)")
    result.add_argument("--port", type=int, default=8081, help="the first of five ports on loopback (%(default)s)")
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Does what is asked; prints the options that run a job on the cluster after a start, alone on standard output."""
    folder = Path(options.folder)
    cluster = Cluster(folder)
    if options.action == "build":
        jar = build_jar(folder.absolute() / "jars", options.engine)
        command.finish(options, str(jar), {"jar": str(jar)})
    elif options.action == "stop":
        ended = cluster.stop()
        command.finish(options, f"{counted(ended, 'process', 'processes')} ended", {"ended": ended})
    elif options.action == "status":
        return _status(options, cluster)
    else:
        usual = (2, 1) if options.engine == "flink" else (1, 2)
        asked = (options.taskmanagers, options.slots)
        taskmanagers, slots = (one if number is None else number for number, one in zip(asked, usual, strict=True))
        size = Size(options.engine, taskmanagers, slots, options.port)
        cluster.start(size)
        LOG.info("the cluster is ready; give these options to featurize and score:")
        given = cluster.options(size)
        command.finish(options, shlex.join(given), {"options": given})
    return 0


def _status(options: argparse.Namespace, cluster: Cluster) -> int:
    state = cluster.state()
    if state is None:
        command.finish(options, f"no cluster runs in {options.folder}", {"processes": {}})
        return 1
    lost = state.lost
    lines = [f"{name}: {'ended' if name in lost else process}" for name, process in state.processes.items()]
    others = sorted(marked(state.mark) - set(state.processes.values()))
    lines += [f"workers and what they started: {', '.join(map(str, others)) or 'none'}"]
    command.finish(options, lines, {"processes": state.processes, "ended": lost, "others": others})
    return 1 if lost else 0


if __name__ == "__main__":
    command.run(main, parser())
