"""Trains a network on the shards of a feature set: python -m model.train."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
from typing import Any

from features.errors import UsageError
from features.io.filesystem import join
from features.runtime import command
from features.runtime.invocation import command_line
from features.runtime.quantities import counted, rate_text
from features.sources.partition import TESTING
from features.store.manifest import load_manifest
from model.pages.document import check_page
from model.tracking.registry import KINDS, NONE, TENSORBOARD, check_trackers
from model.tracking.session import FOLDER
from model.tracking.trackers import tracking
from model.training.options import add_inputs, add_settings, settings_given
from model.training.stored_run import run_to_train
from model.training.trainer import train

EXAMPLE = "python -m model.train --features FEATURES --output RUN --seed 0"
PREVIEW_EXAMPLE = "python -m model.train --features FEATURES --preview augmentation.png --mixup-alpha 0.2"

REPORT = "report.html"


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command. Settings that are not given are absent: a resumed run has its own."""
    result = command.parser("Trains a network on a feature set and leaves a run folder.", EXAMPLE, PREVIEW_EXAMPLE)
    add_inputs(result)
    place = result.add_mutually_exclusive_group(required=True)
    place.add_argument("--output", metavar="RUN", help="new folder for the run")
    place.add_argument(
        "--preview", metavar="PICTURE.png",
        help="draw clips before and after the augmentation that a training would have, and train nothing",
    )  # fmt: skip
    result.add_argument(
        "--init", metavar="RUN",
        help="begin with the weights of an earlier run on features of the same spec, for more clips or other classes",
    )  # fmt: skip
    result.add_argument(
        "--tracker", action="append", choices=(*KINDS, NONE), metavar="TRACKER",
        help=f"where the training is logged besides its folder, once for each: {', '.join(KINDS)}, {NONE} for nowhere; "
        f"a resumed run goes on in its own ({TENSORBOARD})",
    )  # fmt: skip
    result.add_argument(
        "--report", nargs="?", const="", metavar="FILE.html",
        help=f"write the page of the model when the training has ended ({REPORT} in the run)",
    )  # fmt: skip
    result.add_argument(
        "--resume", action="store_true",
        help="continue a run that was interrupted, with its settings; --epochs may be larger than it was where the "
        "learning rate is constant and no average of the weights is kept",
    )  # fmt: skip
    add_settings(result)
    return result


def _preview(options: argparse.Namespace) -> int:
    from features.pictures.drawing import check_picture

    for name in ("resume", "init", "report", "tracker"):
        if getattr(options, name) not in (None, False):
            raise UsageError(f"--{name} goes with --output; --preview shows a training from its settings")
    check_picture("--preview", options.preview)
    from model.training.preview import preview  # which loads what draws

    figures = preview(options.features, options.preview, settings_given(options), options.noise)
    paragraph = (
        f"Drew {figures['clips']} clips for the training of {figures['network']}, each as it is and in "
        f"{figures['draws']} draws. Look at {options.preview}; nothing was trained."
    )
    command.finish(options, paragraph, figures)
    return 0


def _check_report(options: argparse.Namespace) -> None:
    """Raises `UsageError` where no page can be written, or there will be nothing to show in it."""
    if options.report:
        check_page("--report", options.report)
    if options.resume or settings_given(options).get("test_on"):
        return  # what a training is to test on is checked when it begins
    manifest = load_manifest(options.features)
    if TESTING not in manifest.partitions or not manifest.rows((TESTING,)):
        names = ", ".join(manifest.partitions)
        raise UsageError(f"--report shows what the model makes of the {TESTING} clips, of which {options.features} has "
                         f"none ({names}); choose others with --test-on")  # fmt: skip


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Trains, or draws what a training would see, and prints a paragraph about it."""
    if options.preview:
        return _preview(options)
    if options.report is not None:
        _check_report(options)
    trackers = None if options.tracker is None else check_trackers(options.tracker)
    with (
        run_to_train(options.output, options.resume) as (run, send),
        tracking(trackers, options.output, send) as watch,
    ):
        figures = train(
            options.features,
            run,
            settings_given(options),
            options.keep_in_memory,
            options.resume,
            options.noise,
            watch=watch,
            init=options.init,
        )
        logged = watch.show(options.features, figures)
    report = None if options.report is None else options.report or join(options.output, REPORT)
    if report is not None:
        from model.pages.model_page import write_model_page  # which loads what makes pictures

        figures["report"] = write_model_page(options.output, options.features, report)
    paragraph = _of_linear(figures) if "l2" in figures else _of_epochs(figures)
    if figures["classes_without_threshold"]:
        names = ", ".join(figures["classes_without_threshold"])
        paragraph += f" No threshold reaches a precision of {figures['target_precision']:g} for: {names}."
    if "testing_accuracy" in figures:
        after = f"{figures['testing_accuracy']:.4f}"
        if "testing_accuracy_before" in figures:
            after = f"{figures['testing_accuracy_before']:.4f} before training, {after} after it"
        paragraph += (
            f" Accuracy on {figures['testing_clips']:,} testing clips: {after}, and "
            f"{figures['training_accuracy']:.4f} on the clips trained on."
        )
    tested = ("--test-on", ",".join(figures["test_on"])) if figures["test_on"] else ()
    following = command_line("model.evaluate", "--model", options.output, "--features", options.features, *tested)
    paragraph += f" The run is in {options.output}: curves.png shows it."
    others = [KINDS[name].title for name in logged if name != TENSORBOARD]
    if others:
        paragraph += f" It is in {', '.join(others)} too: {join(options.output, FOLDER)}, or where your settings say."
    if report is not None:
        paragraph += f" Open {report} in a browser to hear what it gets wrong."
    paragraph += f" Next: {following}"
    command.finish(options, paragraph, figures)
    return 0


def _of_epochs(figures: dict[str, Any]) -> str:
    paragraph = (
        f"Trained {figures['network']} for {counted(figures['epochs'], 'epoch')} on "
        f"{counted(figures['clips'], 'clip')} in {figures['training_seconds']:.1f} s "
        f"({rate_text(figures['clips_per_second'])} clips a second)."
    )
    if figures["accuracy"] is None:
        paragraph += " The weights are those of the last epoch, since there was no validation."
    else:
        paragraph += (
            f" Best was epoch {figures['best_epoch']}: accuracy {figures['accuracy']:.4f} on "
            f"{figures['validation_clips']:,} validation clips; temperature {figures['temperature']:.3f}."
        )
    return paragraph


def _of_linear(figures: dict[str, Any]) -> str:
    paragraph = (
        f"Trained {figures['network']} on {figures['clips']:,} clips in {figures['training_seconds']:.1f} s. The L2 "
        f"penalty is {figures['l2']:.3g}{', of features at unit length' if figures['unit_length'] else ''}"
    )
    if figures["accuracy"] is None:
        return f"{paragraph}; there was no validation."
    chosen = f", the best of {figures['epochs']} that were tried" if figures["epochs"] > 1 else ""
    on = "clips of inner folds" if figures["inner_folds"] else "validation clips"
    return (
        f"{paragraph}{chosen}: accuracy {figures['accuracy']:.4f} on {figures['validation_clips']:,} {on}; temperature "
        f"{figures['temperature']:.3f}."
    )


if __name__ == "__main__":
    command.run(main, parser())
