"""Lays a feature set out for the libraries of others, with a dataset card: python -m features.publish."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
import os
from typing import Any

from features.interchange.publication import LAYOUTS, publish
from features.io.filesystem import place
from features.io.local_copy import check_local
from features.runtime import command
from features.runtime.quantities import counted, size_text
from features.sources.rejects import rejects_sentence

EXAMPLE = "python -m features.publish speech-features/ --output speech --layout huggingface"
SOUNDS_EXAMPLE = "python -m features.publish speech-features/ --output speech-sounds --layout audiofolder"
_OPENED_BY = {
    "tfds": "tfds.builder_from_directory({!r})",
    "huggingface": "datasets.load_dataset({!r})",
    "audiofolder": "datasets.load_dataset({!r})",
}
_SAID = {
    "linked": "by hard link", "cloned": "as a clone", "copied": "copied", "cut": "cut out of longer recordings",
    "written": "written anew",
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser(
        "Lays the committed features of a set, or its sounds, out so that another library opens them with class\n"
        "names, shapes and splits. Files that the library reads as they are get a second name by hard link; the rest\n"
        "is written anew. A dataset card, README.md, comes along.",
        EXAMPLE,
        SOUNDS_EXAMPLE,
    )
    result.add_argument("features", metavar="FEATURES", help="folder made by pipelines.featurize")
    result.add_argument("--output", required=True, metavar="DIR", help="new folder; its name is that of the data set")
    result.add_argument(
        "--layout", required=True, choices=list(LAYOUTS),
        help="tfds: TFRecord for TensorFlow Datasets; huggingface: Parquet with typed columns for datasets, DuckDB, "
        "pandas and polars; audiofolder: the sounds themselves, for datasets",
    )  # fmt: skip
    result.add_argument("--overwrite", action="store_true", help="replace a publication that stands there")
    result.add_argument("--max-rejects", type=int, metavar="N", help="end with exit code 3 above so many rejects")
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Publishes a set and prints a paragraph about it."""
    check_local("--output", options.output)
    figures = publish(place(options.features), options.output, options.layout, options.overwrite)
    command.finish(options, _paragraph(options.output, options.layout, figures), figures)
    return command.exit_code(figures["rejected"], options.max_rejects)


def _paragraph(output: str, layout: str, figures: dict[str, Any]) -> str:
    splits = ", ".join(f"{rows:,} {split}" for split, rows in figures["splits"].items())
    ways = ", ".join(f"{count:,} {_SAID[way]}" for way, count in figures["files"].items() if count)
    total = sum(figures["files"].values())
    text = (
        f"Published {counted(figures['clips'], 'clip')} ({splits}) as {output}, {size_text(figures['bytes'])} in "
        f"{counted(total, 'file')}, {ways}, in {figures['seconds']:.1f} s."
    )
    if figures["files"]["linked"]:
        text += " What is linked is one file with the original: do not change it in place."
    if figures["empty"]:
        text += f" Without clips, and so without a split: {', '.join(figures['empty'])}."
    if figures["rejects_table"]:
        text += rejects_sentence(figures["rejects"], figures["rejects_table"])
    return f"{text} Open it: {_OPENED_BY[layout].format(os.path.abspath(output))}"


if __name__ == "__main__":
    command.run(main, parser())
