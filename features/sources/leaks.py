"""What there is to say about clips that are trained on and tested on, or have two labels, in another guise."""

import shlex

import pyarrow as pa
import pyarrow.compute as pc

# What makes one clip the same as another: its file's content, and where in it the clip is.
_CONTENT = ["content_hash", "start", "duration"]
COLUMNS = ["path", *_CONTENT, "label", "group", "partition"]
# A name without the number at its end, as that of a part of a recording; paths without one are their own stem.
STEM = r"^(.+?)(?:[-_ .][0-9]{1,5})?(?:\.[^./]*)?$"
_DATE = r"(^|[^0-9])(19|20)[0-9]{2}[-_.]?[0-9]{2}([-_.]?[0-9]{2})?$"
_SHOWN_CONTENTS = 3
_STEMS_PER_CLASS = 2


def equal_contents(clips: pa.Table, way_out: str) -> list[str]:
    """Returns what there is to say about equal contents in several partitions or under several labels.

    Args:
        clips: with the columns `COLUMNS`; those without a hash count as different from all others.
        way_out: options that keep equal contents in one partition.
    """
    clips = clips.select(COLUMNS).filter(pc.is_valid(clips["content_hash"]))
    if pc.count_distinct(clips["content_hash"]).as_py() == len(clips):
        return []
    table = clips.group_by(_CONTENT).aggregate(
        [("partition", "count_distinct"), ("label", "count_distinct"), ("path", "min")]
    )
    way_out += " keeps each in one"
    if pc.any(pc.not_equal(clips["group"], clips["path"])).as_py():
        way_out = f"take out all but one of each; {way_out} too, but no longer what is of one group, as of one speaker"
    ways_out = {"partition": way_out, "label": "give each one label"}
    said = []
    for name, verb in (("partition", "is in"), ("label", "has")):
        several = table.filter(pc.greater(table[f"{name}_count_distinct"], 1))
        if len(several):
            number = f"{len(several):,} {'content' if len(several) == 1 else 'contents'}"
            verb = verb if len(several) == 1 else {"is in": "are in", "has": "have"}[verb]
            said.append(f"{number} {verb} more than one {name}, such as {_examples(clips, several, name)}; "
                        f"{ways_out[name]}")  # fmt: skip
    return said


def _examples(clips: pa.Table, contents: pa.Table, name: str) -> str:
    """Returns the first path of each partition or label that some contents have."""
    first = contents.sort_by("path_min").slice(0, _SHOWN_CONTENTS).to_pylist()
    hashes = pa.array([row["content_hash"] for row in first])
    members = clips.filter(pc.is_in(clips["content_hash"], value_set=hashes)).sort_by("path").to_pylist()
    shown = []
    for content in first:
        paths: dict[str, str] = {}
        for row in members:
            if all(row[column] == content[column] for column in _CONTENT):
                paths.setdefault(row[name], row["path"])
        shown.append(" and ".join(f"{path} ({value})" for value, path in paths.items()))
    return "; ".join(shown)


def spread_stems(clips: pa.Table) -> list[str]:
    """Returns a hint where files whose names share a stem, as parts of one recording do, are in several partitions.

    None where stems are rather the names of classes or dates, or one of them has most of the files.

    Args:
        clips: with the columns path, label, group and partition; those whose group is not their path are left out.
    """
    clips = clips.filter(pc.equal(clips["path"], clips["group"])).select(["path", "label", "partition"])
    if not pc.any(pc.match_substring_regex(clips["path"], r"[-_ .][0-9]{1,5}(\.[^./]*)?$")).as_py():
        return []
    stems = pc.struct_field(pc.extract_regex(clips["path"], STEM.replace("(", "(?P<stem>", 1)), "stem")
    if stems.null_count:  # a name of two lines
        return []
    clips = clips.append_column("stem", stems)
    table = clips.group_by("stem").aggregate(
        [("path", "count_distinct"), ("partition", "count_distinct"), ("label", "min")]
    )
    shared = table.filter(pc.greater(table["path_count_distinct"], 1))
    shared = shared.filter(pc.invert(pc.match_substring_regex(shared["stem"], _DATE)))
    spread = shared.filter(pc.greater(shared["partition_count_distinct"], 1))
    classes = pc.count_distinct(shared["label_min"]).as_py()
    if not len(spread) or len(shared) < _STEMS_PER_CLASS * classes:
        return []
    if 2 * pc.max(shared["path_count_distinct"]).as_py() > pc.sum(table["path_count_distinct"]).as_py():
        return []
    stem = pc.min(spread["stem"]).as_py()
    paths: dict[str, str] = {}
    for row in sorted(clips.filter(pc.equal(clips["stem"], stem)).to_pylist(), key=lambda row: row["path"]):
        paths.setdefault(row["partition"], row["path"])
    shown = " and ".join(f"{path} ({partition})" for partition, path in paths.items())
    return [f"names that share a stem are in more than one partition ({len(spread):,} such stems): {shown}; where they "
            f"are parts of one recording, --group {shlex.quote(STEM)} keeps them together"]  # fmt: skip
