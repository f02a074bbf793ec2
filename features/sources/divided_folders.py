"""Notices a collection whose folders are named like partitions, with the classes below them."""

import re
import shlex

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import UsageError
from features.runtime.invocation import command_line
from features.sources.partition import both_tested, read_partition

_FIRST_FOLDER = "^(?P<label>[^/]+)/"


def check_folders(clips: pa.Table, input_path: str) -> list[str]:
    """Returns what there is to say where classes are named like partitions.

    Args:
        clips: with the names of the first folders as labels.
        input_path: of the folder.

    Raises:
        UsageError: all of them are, so that the names of the classes are rather one folder below.
    """
    labels = pc.unique(clips["label"]).to_pylist()
    # A number alone names a fold in a table, but a folder `7` is rather a digit that is spoken.
    names = sorted(label for label in labels if read_partition(label) and not label.strip().isdecimal())
    is_all = len(names) == len(labels)
    if not is_all and len({read_partition(name) for name in names}) < 2:
        return []
    within = clips.filter(pc.is_in(clips["label"], value_set=pa.array(names)))
    both = both_tested(names)
    text = (f"{len(names)} folders of {input_path} are named like partitions ({', '.join(names[:5])}"
            f"{', …' if len(names) > 5 else ''})")  # fmt: skip
    if both:
        text += f", and either {both[0]} or {both[1]} may be what is tested"
    if 2 * pc.sum(pc.greater(pc.count_substring(within["path"], "/"), 1)).as_py() > len(within):
        taken = [name for name in names if not both or name != both[0]]
        partitions = "|".join(map(re.escape, taken)) if both or not is_all else "[^/]+"
        pattern = f"^(?P<partition>{partitions})/(?P<label>[^/]+)/"
        text += (f"; this takes {'these' if both else 'them'} for partitions and the folders below for classes: "
                 f"{command_line('pipelines.featurize')} --input {shlex.quote(input_path)} --output FEATURES "
                 f"--label-pattern {shlex.quote(pattern)}")  # fmt: skip
    else:
        text += (
            ", and have no folders of classes below; --label-pattern with (?P<partition>…) and (?P<label>…) finds both"
            " in the paths, or give a table"
        )
    if not is_all:
        return [f"{text}; now they are classes"]
    raise UsageError(f"{text}; to have them as classes, give --label-pattern {shlex.quote(_FIRST_FOLDER)}")
