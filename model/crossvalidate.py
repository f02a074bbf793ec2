"""Trains and tests a network on every fold: python -m model.crossvalidate."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse

from features.errors import UsageError
from features.io.local_copy import check_local
from features.runtime import command
from features.runtime.log import LOG
from features.sources.partition import parse_partitions
from model.evaluation.cross_validation import FIGURES, cross_validate, partition_folds, split_folds
from model.evaluation.tested_folds import Fold
from model.training.applicable import is_linear
from model.training.options import add_inputs, add_settings, recipe_given, settings_given
from model.training.section import option

EXAMPLES = (
    "python -m model.crossvalidate --features FEATURES --output DIR",
    "python -m model.crossvalidate --features FEATURES --output DIR --splits 5",
)
_GROUPS = "groups"
# Settings that follow from the folds.
_CHOSEN = ("train_on", "test_on", "splits", "split_seed", "left_out")


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser("Trains and tests a network on every fold of a feature set.", *EXAMPLES)
    add_inputs(result)
    result.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the runs; one that was interrupted goes on",
    )  # fmt: skip
    folds = result.add_mutually_exclusive_group()
    folds.add_argument("--folds", metavar="LIST", help="partitions, by commas, each tested once (all named fold-N)")
    folds.add_argument(
        "--splits", metavar="N", help="divide the clips into so many folds instead, or into as many as there are "
        "groups with `groups`: groups stay whole, classes are spread evenly",
    )  # fmt: skip
    result.add_argument("--split-seed", type=int, metavar="SEED", help="of the division by --splits (0)")
    result.add_argument("--partitions", metavar="LIST", help="whose clips --splits divides, by commas (all)")
    add_settings(result, without=_CHOSEN)
    return result


def folds_of(options: argparse.Namespace) -> list[Fold]:
    """Returns the folds that the command line asks for; raises `UsageError` where there are none such."""
    if options.splits is None:
        for name in ("split_seed", "partitions"):
            if getattr(options, name) is not None:
                raise UsageError(f"{option(name)} goes with --splits; give that too, or leave {option(name)} out")
        return partition_folds(options.features, parse_partitions(options.folds) if options.folds else ())
    if options.splits != _GROUPS and not options.splits.isdecimal():
        raise UsageError(f"--splits is a number or {_GROUPS}, not {options.splits!r}")
    return split_folds(
        options.features,
        parse_partitions(options.partitions) if options.partitions else (),
        None if options.splits == _GROUPS else int(options.splits),
        options.split_seed or 0,
    )


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Trains and tests all folds and prints what they say together."""
    check_local("--output", options.output)
    in_file = [name for name in _CHOSEN if name in recipe_given(options)]
    if in_file:
        raise UsageError(f"{in_file[0]} in {options.config} follows from the folds here; take it out of the file")
    figures = cross_validate(
        options.features,
        options.output,
        folds_of(options),
        {name: value for name, value in settings_given(options).items() if name not in _CHOSEN},
        options.keep_in_memory,
        options.noise,
    )
    tried = "penalties" if is_linear(figures["network"]) else "epochs"
    for fold in figures["folds"]:
        of = f"  {fold['group']}" if fold["group"] else ""
        LOG.info(
            "%-8s accuracy %.4f  %6d of %6d clips, trained on %6d for %3d %s%s", fold["fold"], fold["accuracy"],
            fold["correct"], fold["clips"], fold["trained_on_clips"], fold["epochs"], tried, of,
        )  # fmt: skip
    (low, high), by_group = figures["interval_95"], figures["interval_95_by_group"]
    command.finish(
        options,
        f"Accuracy of {figures['network']} over {len(figures['folds'])} folds: {figures['mean_accuracy']:.4f} in the "
        f"mean, standard deviation {figures['standard_deviation']:.4f}; all clips together {figures['accuracy']:.4f}, "
        f"{figures['correct']:,} of {figures['clips']:,} (95 % interval {low:.4f} to {high:.4f}, by group "
        f"{by_group[0]:.4f} to {by_group[1]:.4f}); macro recall {figures['macro_recall']:.4f}. "
        f"The runs are in {options.output}, all figures in {options.output}/{FIGURES}; look at confusion.png too.",
        figures,
    )
    return 0


if __name__ == "__main__":
    command.run(main, parser())
