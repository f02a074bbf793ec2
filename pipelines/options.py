"""Options of featurize and score, and what becomes of their values."""

import argparse
from collections.abc import Sequence
from dataclasses import fields

from features.errors import UsageError
from features.frontend.presets import DEFAULT_PRESET, PRESETS, SpecChoice, load_preset, load_spec
from features.frontend.spec import FeatureSpec
from features.sources.formats.annotated import BACKGROUND, Annotated
from features.sources.formats.window_grid import WindowGrid
from features.sources.listing import INPUT_FORMATS, InputFormat
from features.sources.policies import CHOICES, DEFAULTS, MESSAGES, Policies
from features.sources.table_layout import TableLayout, option_name

# By the field of `TableLayout`: what its option takes, and its help.
_TABLE_OPTIONS = {
    "root": ("DIR", "where its paths begin (its own folder)"),
    "path_column": ("NAME", "(path)"),
    "path_template": ("TEXT", "a path with columns in braces instead, e.g. 'audio/fold{fold}/{name}'"),
    "label_column": ("NAME", "(label)"),
    "partition_column": ("NAME", "(partition, where it has one)"),
    "fold_column": ("NAME", "its folds are the partitions (fold, where it has one and no partition)"),
    "group_column": ("NAME", "(group, where it has one)"),
    "start_column": ("NAME", "seconds at which clips begin within their files (none)"),
    "end_column": ("NAME", "seconds at which they end (none)"),
    "duration_column": ("NAME", "seconds that they last, in place of the end (none)"),
}
FILE_FIELDS = ("root", "path_column", "path_template")
ALL_FIELDS = tuple(_TABLE_OPTIONS)


def add_front_end(parser: argparse.ArgumentParser) -> None:
    """Adds the options that choose a front end."""
    named = parser.add_mutually_exclusive_group()
    named.add_argument("--preset", choices=sorted(PRESETS), default=DEFAULT_PRESET, help="(%(default)s)")
    named.add_argument("--spec", metavar="FILE.toml", help="a front end of your own")
    parser.add_argument(
        "--network-file", metavar="FILE",
        help="the network of a front end that is one: a .tflite or .onnx file, or the folder of a SavedModel; it is "
        "copied into FEATURES and need not be given again",
    )  # fmt: skip


def chosen_front_end(options: argparse.Namespace) -> SpecChoice:
    """Returns the front end that is chosen; raises `UsageError` where it cannot be read or contradicts itself."""
    if options.spec:
        return load_spec(options.spec, options.network_file)
    return load_preset(options.preset, options.network_file)


def add_clip_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that choose clips, label and divide them, whatever the source is."""
    parser.add_argument("--limit", type=int, metavar="N", help="take N clips only, chosen by the hash of their path")
    parser.add_argument(
        "--group", metavar="RULE",
        help="clips of a group share a partition: path, content, or a regular expression searched in the path "
        "(the speaker before _nohash_ where names have it, else the path)",
    )  # fmt: skip
    parser.add_argument(
        "--split", metavar="T/V/T",
        help="percentages of training/validation/testing (what the source says, else 80/10/10)",
    )  # fmt: skip
    parser.add_argument(
        "--label-pattern", metavar="REGEX",
        help="finds the label in the path of a file, as its named group label; groups named group and partition may "
        "stand beside it, e.g. '(?P<label>\\d)_(?P<group>\\w+)_' (the first folder below the input)",
    )  # fmt: skip
    parser.add_argument(
        "--corrections", action="append", default=[], metavar="FILE|none",
        help="what was said of clips and windows on a page of model.report, its review.csv: their labels are changed, "
        "they are left out, or added; may be given several times; none returns to the labels of the source",
    )  # fmt: skip


def add_format_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say in which format labelled recordings are."""
    group = parser.add_argument_group("what others publish")
    group.add_argument(
        "--input-format", choices=INPUT_FORMATS,
        help="of the input: audiofolder is Hugging Face's, lhotse a manifest of cuts or of recordings and "
        "supervisions, nemo a manifest of NeMo (a folder or a table, by its name)",
    )  # fmt: skip
    group.add_argument(
        "--annotations", metavar="DIR|FILE",
        help="selection tables of Raven or label tracks of Audacity, named after the recordings of the input: clips "
        "are the windows that have a label, one after the other",
    )  # fmt: skip
    group.add_argument(
        "--min-overlap-seconds", type=float, metavar="S",
        help="a window takes a label that covers so much of it, or all of the annotation (half of the shorter of the "
             "two)",
    )  # fmt: skip
    group.add_argument(
        "--background-share", type=float, metavar="P",
        help="take this share of the windows without a label, chosen by the hash of their path and start (0)",
    )  # fmt: skip
    group.add_argument("--background-label", metavar="NAME", help=f"the class of these windows ({BACKGROUND})")


def chosen_format(options: argparse.Namespace, spec: FeatureSpec) -> InputFormat:
    """Returns how the input is read; raises `UsageError` where the options contradict each other or the spec."""
    given = [name for name in ("min_overlap_seconds", "background_share", "background_label")
             if getattr(options, name) is not None]  # fmt: skip
    if options.annotations is None:
        if given:
            raise UsageError(f"{option_name(given[0])} says which windows are clips, of --annotations; give these, or "
                             "leave it out")  # fmt: skip
        return InputFormat(options.input_format, None, spec.channels)
    if spec.clip_samples is None:
        raise UsageError("--annotations makes clips of the windows of recordings, and the spec takes files of any "
                         "length whole: give a --preset or --spec with clip_seconds")  # fmt: skip
    values = {name: getattr(options, name) for name in given}
    annotated = Annotated(options.annotations, WindowGrid(spec.clip_samples, spec.sample_rate_hz), **values)
    return InputFormat(options.input_format, annotated, spec.channels)


def add_table_options(parser: argparse.ArgumentParser, title: str, names: Sequence[str]) -> None:
    """Adds a group of options that say where a table says what.

    Args:
        parser: of the command.
        title: of the group.
        names: the fields of `TableLayout` that the command reads: `FILE_FIELDS` or `ALL_FIELDS`.
    """
    group = parser.add_argument_group(title)
    for name in names:
        metavar, text = _TABLE_OPTIONS[name]
        group.add_argument(option_name(name), metavar=metavar, help=text)


def table_layout(options: argparse.Namespace) -> TableLayout:
    """Returns where a table says what; raises `UsageError` where two options exclude each other."""
    return TableLayout(**{field.name: getattr(options, field.name, None) for field in fields(TableLayout)})


def add_policies(parser: argparse.ArgumentParser) -> None:
    """Adds an option for each policy."""
    for name, choice in DEFAULTS.items():
        parser.add_argument(f"--{name}", choices=CHOICES, default=choice,
                            help=f"what is done where {MESSAGES[name]} (%(default)s)")  # fmt: skip


def chosen_policies(options: argparse.Namespace) -> Policies:
    """Returns the choice for each policy."""
    return {name: getattr(options, name) for name in DEFAULTS}


def add_work_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--workers` and `--max-rejects`, which `parse_workers` and `command.exit_code` take."""
    parser.add_argument("--workers", default="auto", metavar="N", help="worker processes (auto)")
    parser.add_argument("--max-rejects", type=int, metavar="N", help="end with exit code 3 above so many rejects")
