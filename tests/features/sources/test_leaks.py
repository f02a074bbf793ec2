"""Equal contents in several partitions or under several labels, and parts of one recording in several partitions."""

import re
import shlex
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from features.sources.groups import groups_of
from features.sources.leaks import ContentKeys, equal_contents, repeated_contents, spread_stems
from features.sources.partition import hash_partitions

TEXT, NUMBER = pa.string(), pa.int64()
CLIPS = pa.schema([("path", TEXT), ("content_hash", TEXT), ("start", NUMBER), ("duration", NUMBER), ("label", TEXT),
                   ("group", TEXT), ("partition", TEXT)])  # fmt: skip


def contents(*rows, group=None):
    """Clips of a path, a content, a start, a label and a partition each; their group is the path or the one given."""
    names = ("path", "content_hash", "start", "label", "partition")
    listed = [{"group": group or row[0], **dict(zip(names, row, strict=True))} for row in rows]
    return pa.Table.from_pylist(listed, schema=CLIPS)


def said_of(clips, way_out="--group content", batch=1):
    """What is said of clips that come in several tables, of which each has so many."""
    tables = [clips.slice(first, batch) for first in range(0, len(clips) + 1, batch)]
    return equal_contents(tables, repeated_contents(tables), way_out)


def listed(paths, partitions=None, groups=None):
    """Clips of these paths, whose labels are their first folders."""
    partitions = hash_partitions(paths) if partitions is None else partitions
    labels = [path.split("/")[0] for path in paths]
    return pa.table({"path": paths, "label": labels, "group": groups or paths, "partition": pa.array(partitions)})


def test_contents_that_differ_are_no_matter():
    clips = contents(
        ("a", "1", 0, "x", "training"),
        ("b", "2", 0, "y", "testing"),
        ("c", "1", 7, "y", "testing"),  # another part of the same recording
        ("d", "3", 0, "x", "training"),
        ("e", "3", 0, "x", "training"),  # a copy beside it
        ("f", None, 0, "x", "training"),
        ("g", None, 0, "y", "testing"),
    )
    for batch in (1, 3, len(clips)):
        assert said_of(clips, batch=batch) == []
    assert said_of(clips.slice(0, 0)) == []
    assert equal_contents([], repeated_contents([]), "--group content") == []


def test_equal_contents_in_several_partitions_and_under_several_labels_are_counted_and_named():
    rows = [(f"{number}{name}.wav", f"content {number}", 0, "x", partition) for number in range(5)
            for name, partition in (("", "training"), (" copy", "fold-2"))]  # fmt: skip
    rows += [("two.wav", "t", start, "x", "training") for start in (0, 3)] + [("one.wav", "t", 3, "y", "training")]
    clips = contents(*rows[::-1])
    partitions, labels = said_of(clips, "--group content --split 80/10/10")
    assert [partitions, labels] == said_of(clips, "--group content --split 80/10/10", len(clips))
    assert partitions == (
        "5 contents are in more than one partition, such as 0 copy.wav (fold-2) and 0.wav (training); "
        "1 copy.wav (fold-2) and 1.wav (training); 2 copy.wav (fold-2) and 2.wav (training); "
        "--group content --split 80/10/10 keeps each in one"
    )
    assert labels == "1 content has more than one label, such as one.wav (y) and two.wav (x); give each one label"


def test_where_clips_have_groups_the_rule_says_that_it_gives_them_up():
    rows = [("a.wav", "c", 0, "x", "training"), ("b.wav", "c", 0, "x", "testing")]
    assert said_of(contents(*rows))[0].endswith("; --group content keeps each in one")
    assert said_of(contents(*rows, group="speaker"))[0].endswith(
        "; take out all but one of each; --group content keeps each in one too, but no longer what is of one group, as "
        "of one speaker"
    )


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 32, 37])
def test_contents_are_told_apart_by_hash_start_and_duration(length):
    """As a dictionary of whole keys finds them, for hashes of any length."""
    generator = np.random.default_rng(length)
    hashes = ["".join(generator.choice(list("0123456789abcdef"), length)) for _ in range(40)] + [None]
    rows = [(hashes[generator.integers(41)], int(generator.integers(2)), [None, 5, 2**40][generator.integers(3)])
            for _ in range(300)]  # fmt: skip
    keys = ContentKeys()
    for first in range(0, 300, 77):
        columns = list(map(list, zip(*rows[first : first + 77], strict=True)))
        keys.add(pa.table([pa.array(columns[0], TEXT), *(pa.array(one, NUMBER) for one in columns[1:])],
                          names=["content_hash", "start", "duration"]))  # fmt: skip
    counts = Counter(row for row in rows if row[0] is not None)
    assert len(keys.repeated()) == sum(count > 1 for count in counts.values())


def parts(count, stem, separator="_", digits=3):
    return [f"{stem}{separator}{number:0{digits}}.wav" for number in range(count)]


@pytest.mark.parametrize("separator", ["_", "-", " ", "."])
@pytest.mark.parametrize("digits", [1, 3, 5])
def test_parts_of_recordings_in_several_partitions_get_a_rule_that_keeps_them_together(separator, digits):
    paths = [path for label in ("owl", "wren/night") for number in range(100, 108)
             for path in parts(6, f"{label}/XC{number}", separator, digits)]  # fmt: skip
    paths += ["owl/whole.flac", "owl/v1", "wren/2"]
    (hint,) = spread_stems(listed(paths))
    example = r"owl/XC10\d[-_ .]\d+\.wav \((training|validation|testing)\)"
    assert re.match(
        rf"names that share a stem are in more than one partition \(\d+ .*\): {example} and {example}", hint
    )
    words = shlex.split(hint)
    groups = groups_of(pa.array(paths), words[words.index("--group") + 1], "").to_pylist()
    assert len(set(groups)) == 2 * 8 + 3
    assert set(groups) == {f"{label}/XC{number}" for label in ("owl", "wren/night") for number in range(100, 108)} | {
        "owl/whole", "owl/v1", "wren/2"
    }  # fmt: skip
    assert spread_stems(listed(paths, hash_partitions(groups))) == [], "together they are no matter"


PLAIN = {
    "numbers": [f"{label}/{number}.wav" for label in "ab" for number in range(50)],
    "numbers behind a letter": [f"{label}/{label}{number}.wav" for label in "ab" for number in range(50)],
    "names of classes": [f"{label}/{label}_{number}.wav" for label in ("dog", "cat") for number in range(50)],
    "names of a recorder": [f"{label}/{name}_{number:04}.wav" for label, name in (("a", "DR0000"), ("b", "REC01"))
                            for number in range(50)],
    "one recording has most": [path for stem, count in (("a/x1", 50), ("a/x2", 2), ("b/y1", 2), ("b/y2", 2))
                               for path in parts(count, stem)],
    "dates and times": [f"{label}/2019{month:02}{day:02}_{hour:02}3000.wav" for label in "ab" for month in (5, 6)
                        for day in range(1, 9) for hour in range(3)],
    "dates": [f"{label}/2019-{month:02}-{day:02}.wav" for label in "ab" for month in range(1, 9)
              for day in range(1, 9)],
    "two lines": [f"a/XC{number}_{part}\n.wav" for number in range(20) for part in range(4)],
    "none": ["a/1.wav"],
}  # fmt: skip


@pytest.mark.parametrize("case", PLAIN)
def test_names_that_are_no_parts_of_recordings_get_no_hint(case):
    paths = PLAIN[case]
    assert spread_stems(listed(paths, [("training", "testing")[place % 2] for place in range(len(paths))])) == []


def test_clips_of_one_file_and_groups_that_are_known_get_no_hint():
    paths = [path for number in range(9) for path in parts(4, f"a/XC{number}")]
    groups = [path.split("_")[0] for path in paths]
    assert spread_stems(listed(paths, groups=groups)) == []
    assert spread_stems(listed([path for path in paths[::4] for _ in range(4)])) == [], "a file's clips are together"
