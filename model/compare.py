"""Tests runs on the same clips, side by side: python -m model.compare."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
import contextlib
from typing import Any

from features.runtime import command
from features.runtime.log import LOG
from features.sources.partition import parse_partitions
from model.evaluation.comparison import compare
from model.inference.run_store import local_run

EXAMPLE = "python -m model.compare RUN RUN --features FEATURES --test-on testing"
_LEVEL = 0.05


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser("Tests runs on the same clips, and each against the first.", EXAMPLE)
    result.add_argument("runs", nargs="+", metavar="RUN", help="run folders made by model.train, two at least")
    result.add_argument(
        "--features", required=True, action="append", metavar="FEATURES",
        help="folder made by pipelines.featurize; given once for each run, in their order, where front ends differ",
    )  # fmt: skip
    result.add_argument("--test-on", default="testing", metavar="LIST", help="partitions, by commas (%(default)s)")
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Compares and prints the figures of each run, and the tests."""
    test_on = parse_partitions(options.test_on)
    with contextlib.ExitStack() as copies:
        runs = [copies.enter_context(local_run(run)) for run in options.runs]
        figures = compare(runs, options.features, test_on)
    given = dict(zip(runs, options.runs, strict=True))
    for row in (*figures["runs"], *figures["tests"]):
        row |= {name: given[row[name]] for name in ("run", "against") if name in row}
    width = max(len(run["run"]) for run in figures["runs"])
    LOG.info("%-*s  %-14s %10s %10s  accuracy (95 %% interval)      loss    macro recall",
             width, "run", "network", "parameters", "trained on")  # fmt: skip
    for run in figures["runs"]:
        low, high = run["interval_95"]
        trained_on = "unknown" if run["trained_on_clips"] is None else f"{run['trained_on_clips']:,}"
        LOG.info(
            "%-*s  %-14s %10s %10s  %.4f (%.4f to %.4f)  %.4f  %.4f", width, run["run"], run["network"],
            f"{run['parameters']:,}", trained_on, run["accuracy"], low, high, run["loss"], run["macro_recall"],
        )  # fmt: skip
    for test in figures["tests"]:
        LOG.info(
            "%s against %s: %d clips won, %d lost; p = %.3g by clip (McNemar, %s), %.3g by group (%d groups differ)",
            test["run"], test["against"], test["won"], test["lost"], test["clip_p"], test["method"], test["group_p"],
            test["groups"],
        )  # fmt: skip
    paragraph = (
        f"Tested {len(figures['runs'])} runs on the same {figures['clips']:,} clips of {figures['groups']:,} groups in "
        f"{', '.join(test_on)}. "
    )
    command.finish(options, paragraph + " ".join(map(_verdict, figures["tests"])), figures)
    return 0


def _verdict(test: dict[str, Any]) -> str:
    won, lost = test["won"], test["lost"]
    if won == lost:
        return f"{test['run']} gets as many right as {test['against']}."
    text = (
        f"{test['run']} gets {abs(won - lost)} clips {'more' if won > lost else 'fewer'} right than {test['against']}"
    )
    if test["group_p"] < _LEVEL and test["clip_p"] < _LEVEL:
        return f"{text}, by clip and by group more than chance explains (p < {_LEVEL})."
    if test["clip_p"] < _LEVEL:
        return f"{text}: taking clips as independent that is more than chance explains (p < {_LEVEL}), by group not."
    return f"{text}, which chance can explain."


if __name__ == "__main__":
    command.run(main, parser())
