"""Searches for the settings of a network that win: python -m model.tune."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse

from features.io.local_copy import check_local
from features.runtime import command
from features.runtime.invocation import command_line
from features.runtime.log import LOG
from model.training.options import add_inputs, add_settings, recipe_given, settings_named
from model.training.run_folder import RECIPE
from model.tuning.study import PICTURE, SEARCH, TRIALS, tune

EXAMPLE = "python -m model.tune --features FEATURES --output DIR --trials 30 --search ranges.toml"


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser("Searches for the settings of a network that win on the validation clips.", EXAMPLE)
    add_inputs(result)
    result.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the study and its runs; one that is there goes on"
    )
    result.add_argument("--trials", required=True, type=int, metavar="N", help="of the study, earlier ones among them")
    result.add_argument(
        "--search", metavar="RANGES.toml",
        help="settings with their ranges: [low, high], {low = ..., high = ..., log = true} or {choices = [...]} "
        f"(those of the network that are not given, which stand in {SEARCH} then); they stand before --config",
    )  # fmt: skip
    add_settings(result)
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Searches and prints what was found."""
    check_local("--output", options.output)
    figures = tune(
        options.features,
        options.output,
        options.trials,
        settings_named(options),
        options.search,
        options.keep_in_memory,
        options.noise,
        recipe_given(options),
    )
    for name, share in sorted(figures["importances"].items(), key=lambda item: -item[1]):
        LOG.info("%-20s made %3.0f %% of the difference, best %s", name, 100 * share, figures["best"][name])
    paragraph = (
        f"Of {figures['trials']} trials, {figures['stopped_early']} of them stopped early, {figures['best_run']} is "
        f"the best: accuracy {figures['accuracy']:.4f} on the validation clips, by which it was chosen; what it is on "
        f"new clips, a test says. All trials are in {options.output}/{TRIALS}"
    )
    if figures["importances"]:
        paragraph += f"; {PICTURE} beside it shows what mattered"
    recipe = f"{options.output}/{RECIPE}"
    following = command_line("model.train", "--features", options.features, "--output", "RUN", "--config", recipe)
    paragraph += f". Next: {following}"
    command.finish(options, paragraph, figures)
    return 0


if __name__ == "__main__":
    command.run(main, parser())
