"""Equal contents in several partitions or under several labels."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from features.sources.leaks import ContentKeys, equal_contents, repeated_contents

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
