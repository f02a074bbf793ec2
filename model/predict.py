"""Labels a few files and draws their windows: python -m model.predict."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
import contextlib
import os
import sys

from features.pictures.drawing import check_picture
from features.runtime import command
from features.runtime.invocation import command_line
from features.runtime.quantities import counted
from features.sources.paths import escape_path
from model.inference.run_store import MODEL_ALONE, local_run
from model.scoring.options import add_window_options
from model.scoring.plan import shortened_sentence
from model.scoring.predictor import MOST_DRAWN, Request, predict

EXAMPLE = "python -m model.predict --model RUN yes.wav no.wav --plot predictions.png"


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser("Prints the labels of a few files as CSV, and draws their windows.", EXAMPLE)
    result.add_argument("files", nargs="+", metavar="FILE", help="recordings; a long one is cut into windows")
    result.add_argument("--model", required=True, metavar="RUN", help="run folder made by model.train")
    result.add_argument("--top", type=int, default=1, metavar="K", help="labels per window (%(default)s)")
    add_window_options(result)
    result.add_argument("--plot", metavar="PICTURE.png", help=f"draw the first {MOST_DRAWN} windows; replaced if there")
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Labels the files and prints a paragraph about the run."""
    if options.plot is not None:
        check_picture("--plot", options.plot)
    paths = tuple(dict.fromkeys(escape_path(os.fsencode(file)) for file in options.files))
    with local_run(options.model, MODEL_ALONE) as run:
        request = Request(
            run=run,
            paths=paths,
            top=options.top,
            plot=options.plot,
            hop_seconds=options.hop_seconds,
            tail=options.tail,
            min_window_seconds=options.min_window_seconds,
        )
        figures = predict(request, sys.stdout)
    rejected = f" {figures['rejected']:,} could not be used; the reasons stand above." if figures["rejected"] else ""
    files = counted(figures["scored"], "file")
    paragraph = f"Labelled {counted(figures['windows'], 'window')} of {files}.{rejected}"
    paragraph += shortened_sentence(figures["short_windows"], figures["min_window_seconds"], options.tail)
    if options.plot:
        some = f", which shows the first {figures['drawn']}" if figures["drawn"] < figures["windows"] else ""
        paragraph += f" Look at {options.plot}{some}."
    else:
        paragraph += f" --plot PICTURE.png shows the windows; for whole folders: {command_line('pipelines.score')}"
    # Standard output is a CSV, so that it can be written to a file.
    with contextlib.redirect_stdout(sys.stderr):
        command.finish(options, paragraph, figures)
    return 0


if __name__ == "__main__":
    command.run(main, parser())
