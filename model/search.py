"""Lists the clips of a feature set that are most like one: python -m model.search."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse

from features.pictures.drawing import check_picture
from features.runtime import command
from features.runtime.quantities import counted
from features.runtime.visible import print_lines
from features.sources.partition import parse_partitions
from features.sources.paths import csv_path
from model.labels.table_output import check_table_name
from model.neighbours.found_table import lines_of
from model.neighbours.searcher import MOST_DRAWN, Found, Request, figures_of, search

EXAMPLE = "python -m model.search --features features/ --like bittern/night-7.wav --top 20 --picture like.png"
OUTSIDE_EXAMPLE = "python -m model.search --features features/ --like ~/recording.wav --start 12.5 --output like.csv"


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser(
        "Lists the clips of a feature set that are most like one, by the cosine of their features.", EXAMPLE,
        OUTSIDE_EXAMPLE,
    )  # fmt: skip
    result.add_argument("--features", required=True, metavar="FEATURES", help="folder made by pipelines.featurize")
    result.add_argument(
        "--like", required=True, metavar="CLIP",
        help="a clip of the set by its path there, which is itself left out, or any other recording",
    )  # fmt: skip
    result.add_argument(
        "--start", type=float, metavar="SECONDS",
        help="where in its recording the clip begins; needed where the set has several of the recording",
    )  # fmt: skip
    result.add_argument("--top", type=int, default=20, metavar="K", help="clips to list (%(default)s)")
    result.add_argument("--partitions", metavar="LIST", help="search these partitions alone, by commas")
    result.add_argument(
        "--label", action="append", default=[], metavar="NAME",
        help="search clips of this label alone; may be given several times",
    )  # fmt: skip
    result.add_argument(
        "--output", metavar="TABLE", help="write the list as .csv, .parquet or .jsonl; replaced if there"
    )
    result.add_argument(
        "--picture", metavar="PICTURE.png", help=f"draw the clip and the first {MOST_DRAWN}; replaced if there"
    )
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Searches and prints the list."""
    if options.output is not None:
        check_table_name("--output", options.output)
    if options.picture is not None:
        check_picture("--picture", options.picture)
    request = Request(
        features=options.features,
        like=options.like,
        start_seconds=options.start,
        top=options.top,
        partitions=None if options.partitions is None else parse_partitions(options.partitions),
        labels=tuple(options.label),
        output=options.output,
        picture=options.picture,
    )
    found = search(request)
    print_lines(lines_of(found.table), end="\n\n")
    command.finish(options, _paragraph(found, request), figures_of(found))
    return 0


def _paragraph(found: Found, request: Request) -> str:
    left_out = ", itself left out" if found.query.row is not None else ", which is not in the set"
    text = (
        f"Compared {counted(found.compared, 'clip')} with {csv_path(found.query.path)}{left_out}, in "
        f"{found.seconds:.1f} s."
    )
    if request.output is not None:
        text += f" The list is in {request.output}."
    if request.picture is not None:
        some = f", which shows the first {found.drawn}" if found.drawn < len(found.table) else ""
        text += f" Look at {request.picture}{some}."
    return text


if __name__ == "__main__":
    command.run(main, parser())
