import collections
import hashlib
import os
import re
import subprocess
import sys

import pyarrow as pa
import pytest

from features.errors import UsageError
from features.runtime.visible import num_columns
from features.sources.folder import scan
from features.sources.groups import groups_of
from features.sources.partition import (
    PARTITIONS,
    TESTING,
    TRAINING,
    VALIDATION,
    assign,
    count,
    count_table,
    hash_partition,
    parse_partitions,
    parse_split,
    partition_order,
    read_partition,
)
from features.sources.remarks import remarks
from tests.features.examples import clip_rows
from tests.signals import sine, write_wav


# Published with Speech Commands: the partition of these speakers by the rule of its README.
@pytest.mark.parametrize(
    ("partition", "speakers"),
    [
        (TESTING, ["bb05582b", "03401e93", "096456f9"]),
        (VALIDATION, ["026290a7", "060cd039", "099d52ad"]),
        (TRAINING, ["00f0204f", "012c8314"]),
    ],
)
def test_wardens_rule(partition, speakers):
    paths = [f"{word}/{speaker}_nohash_{take}.wav" for speaker in speakers for word in ("yes", "no") for take in (0, 1)]
    assert [hash_partition(speaker) for speaker in speakers] == [partition] * len(speakers)
    clips, notes = assign(clip_rows(len(paths), path=paths).select(["path", "label"]), "/nowhere", None, None)
    assert clips["group"].to_pylist() == [speaker for speaker in speakers for _ in range(4)]
    assert clips["partition"].to_pylist() == [partition] * len(paths)
    assert notes == []


@pytest.mark.parametrize("split", [(80, 10, 10), (50, 20, 30), (100, 0, 0), (0, 100, 0), (0, 0, 100), (98, 1, 1)])
def test_shares_are_those_of_the_split(split):
    shares = collections.Counter(hash_partition(f"group {number}", split) for number in range(20_000))
    for name, percent in zip(PARTITIONS, split, strict=True):
        assert shares[name] / 200 == pytest.approx(percent, abs=1 if 0 < percent < 100 else 0)


def test_partition_is_wardens_formula():
    def which_set(name):  # from the README of Speech Commands, validation and testing 10 % each
        size = 2**27 - 1
        percentage = (int(hashlib.sha1(name.encode()).hexdigest(), 16) % (size + 1)) * (100.0 / size)
        return VALIDATION if percentage < 10 else TESTING if percentage < 20 else TRAINING

    names = [f"{number:08x}" for number in range(1_000)] + ["", "ä", "a/b.wav"]
    assert [hash_partition(name) for name in names] == [which_set(name) for name in names]


def test_partitions_are_the_same_in_every_process():
    code = (
        "from features.sources.partition import hash_partition as h\n"
        "from features.sources.clip_order import key_hashes\n"
        "from tests.features.examples import clip_rows\n"
        "from tests.features.update.test_plan import names\n"
        "t = clip_rows(50)\n"
        "print([h(str(n)) for n in range(200)], key_hashes(t).tolist(), names(t))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert b"testing" in outputs.pop()


def test_adding_files_moves_no_other():
    few, _ = assign(clip_rows(50).select(["path", "label"]), "/nowhere", None, None)
    many, _ = assign(clip_rows(500).select(["path", "label"]), "/nowhere", None, None)
    assert many["partition"].to_pylist()[:50] == few["partition"].to_pylist()


@pytest.mark.parametrize("text", ["80/10/10", "100/0/0", "0/50/50"])
def test_split(text):
    assert "/".join(map(str, parse_split(text))) == text


@pytest.mark.parametrize("text", ["80/10", "80/10/11", "80/10/5/5", "a/b/c", "110/-5/-5", "80.0/10/10", "", "80/20/"])
def test_split_that_is_none(text):
    with pytest.raises(UsageError) as error:
        parse_split(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("training", ("training",)),
        ("train,val,test", ("training", "validation", "testing")),
        (" dev , validation,fold-1,", ("validation", "fold-1")),
        ("valid,eval,evaluation", ("validation", "testing")),
    ],
)
def test_lists_of_partitions(text, names):
    assert parse_partitions(text) == names


@pytest.mark.parametrize("text", ["", " , "])
def test_list_of_no_partition(text):
    with pytest.raises(UsageError, match="names one at least"):
        parse_partitions(text)


@pytest.mark.parametrize(
    ("rule", "path", "group"),
    [
        (None, "yes/0a_nohash_1.wav", "0a"),
        (None, "yes/0a_nohash_1_nohash_2.wav", "0a"),
        (None, "yes/_nohash_1.wav", ""),
        (None, "a_nohash_1/b.wav", "a_nohash_1/b.wav"),
        (None, "yes/a.wav", "yes/a.wav"),
        ("path", "yes/0a_nohash_1.wav", "yes/0a_nohash_1.wav"),
        (r"_([a-z]+)_\d+\.wav", "0/0_jackson_12.wav", "jackson"),
        (r"jackson|nicolas", "0/0_nicolas_12.wav", "nicolas"),
        (r"(\d)_(\w+)", "x/7_theo_12.wav", "7"),
    ],
)
def test_groups(rule, path, group):
    assert groups_of(pa.array([path, path]), rule, "/nowhere").to_pylist() == [group, group]


def test_group_by_content(tmp_path):
    for name, hz in (("a/1.wav", 440), ("b/2.wav", 440), ("a/3.wav", 550)):
        write_wav(tmp_path / name, sine(hz, 100))
    paths = pa.array(["a/1.wav", "b/2.wav", "a/3.wav", "a/gone.wav"])
    one, two, three, gone = groups_of(paths, "content", str(tmp_path)).to_pylist()
    assert one == two == hashlib.sha256((tmp_path / "a/1.wav").read_bytes()).hexdigest()
    assert three != one
    assert gone == "a/gone.wav"


def test_group_rules_that_cannot_be_used():
    with pytest.raises(UsageError, match=r"regular expression, and '\(' is not one"):
        groups_of(pa.array(["a"]), "(", "/nowhere")
    with pytest.raises(UsageError, match=r"'speaker-\\\\d' .*not in yes/a\.wav"):
        groups_of(pa.array(["yes/a.wav"]), r"speaker-\d", "/nowhere")


@pytest.fixture
def listed(tmp_path):
    """Five clips and the two lists."""
    for name in "abcde":
        write_wav(tmp_path / "yes" / f"{name}_nohash_0.wav", sine(440, 16))
    (tmp_path / "validation_list.txt").write_text("yes/a_nohash_0.wav\n", encoding="utf-8")
    (tmp_path / "testing_list.txt").write_text("yes/b_nohash_0.wav\r\n\nyes/c_nohash_0.wav", encoding="utf-8")
    return tmp_path


def partitions_of(root, split=None):
    source = scan(str(root), labelled=True)
    clips, notes = assign(source.clips, source.root, None, split)
    return dict(
        zip((path[4] for path in clips["path"].to_pylist()), clips["partition"].to_pylist(), strict=True)
    ), notes


def test_official_lists_decide(listed):
    expected = {"a": VALIDATION, "b": TESTING, "c": TESTING, "d": TRAINING, "e": TRAINING}
    assert partitions_of(listed) == (expected, [])


def test_one_list_alone_decides_too(listed):
    (listed / "validation_list.txt").unlink()
    assert collections.Counter(partitions_of(listed)[0].values()) == {TESTING: 2, TRAINING: 3}


def test_a_split_wins_over_lists(listed):
    assert set(partitions_of(listed, split=(0, 0, 100))[0].values()) == {TESTING}
    assert partitions_of(listed, split=(0, 0, 100))[1] == []


def test_a_clip_in_both_lists_is_refused(listed):
    with (listed / "testing_list.txt").open("a", encoding="utf-8") as file:
        file.write("\nyes/a_nohash_0.wav\n")
    with pytest.raises(UsageError, match=r"yes/a_nohash_0\.wav in validation_list\.txt and testing_list\.txt"):
        partitions_of(listed)
    assert len(partitions_of(listed, split=(80, 10, 10))[0]) == 5


@pytest.mark.data
def test_the_real_lists(data):
    source = scan(str(data / "speech_commands_8words"), labelled=True)
    clips, notes = assign(source.clips, source.root, None, None)
    assert notes == []
    assert collections.Counter(clips["partition"].to_pylist()) == {TRAINING: 4_813, VALIDATION: 671, TESTING: 484}
    speakers = {name: set() for name in PARTITIONS}
    for group, partition in zip(clips["group"].to_pylist(), clips["partition"].to_pylist(), strict=True):
        speakers[partition].add(group)
    assert sum(map(len, speakers.values())) == len(set().union(*speakers.values())) == 1_165
    hashed, _ = assign(source.clips, source.root, None, (80, 10, 10))
    disjoint = {name: set() for name in PARTITIONS}
    for group, partition in zip(hashed["group"].to_pylist(), hashed["partition"].to_pylist(), strict=True):
        disjoint[partition].add(group)
    assert sum(map(len, disjoint.values())) == 1_165


def test_counts_by_class_and_partition():
    clips = clip_rows(4, label=["b", "a", "b", "b"], partition=["testing", "training", "training", "testing"])
    assert count(clips) == {"a": {"training": 1}, "b": {"training": 1, "testing": 2}}
    assert list(count(clips)) == ["a", "b"]
    assert list(count(clips)["b"]) == ["training", "testing"]
    assert count(clip_rows(0)) == {}


@pytest.mark.parametrize(
    ("value", "partition"),
    [
        ("training", TRAINING),
        ("TRAIN", TRAINING),
        ("Val", VALIDATION),
        ("dev", VALIDATION),
        ("VALID", VALIDATION),
        ("Eval", TESTING),
        ("evaluation", TESTING),
        (" Test\n", TESTING),
        *((value, "fold-1") for value in ("1", "01", "fold1", "fold-1", "fold_1", "fold 1", "FOLD1", "fold001")),
        ("0", "fold-0"),
        ("fold-10", "fold-10"),
        *(
            (value, None)
            for value in (
                "",
                "trains",
                "invalid",
                "evaluate",
                "1.0",
                "-1",
                "fold",
                "fold--1",
                "fold-1a",
                "1 2",
                "²",
                "9" * 5_000,
            )
        ),
    ],
)
def test_what_a_value_means(value, partition):
    assert read_partition(value) == partition


def test_the_order_of_partitions():
    assert partition_order([]) == PARTITIONS
    assert partition_order(["testing"]) == PARTITIONS
    assert partition_order(["fold-10", "fold-2", "fold-1", "fold-2"]) == ("fold-1", "fold-2", "fold-10")
    assert partition_order(["fold-1", "testing", "training"]) == ("training", "testing", "fold-1")


def test_counts_of_folds():
    clips = clip_rows(4, label=["b", "a", "b", "b"], partition=["fold-10", "fold-2", "fold-2", "fold-10"])
    assert count(clips) == {"a": {"fold-2": 1}, "b": {"fold-2": 1, "fold-10": 2}}
    assert list(count(clips)["b"]) == ["fold-2", "fold-10"]
    assert [line.split() for line in count_table(clips)] == [
        ["class", "fold-2", "fold-10"], ["a", "1", "0"], ["b", "1", "2"], ["all", "2", "2"]
    ]  # fmt: skip
    assert count_table(clip_rows(1))[0].split() == ["class", *PARTITIONS]


def test_a_table_of_counts_has_straight_columns_and_no_controls():
    table = count_table(clip_rows(3, label=["日本語で鳴く鳥", "a\nb", "a\\x0ab"], partition=["training"] * 3))
    assert len({num_columns(line) for line in table}) == 1
    assert [line.split()[:2] for line in table[1:]] == [
        ["a\\x0ab", "1"], ["a\\x0ab", "1"], ["日本語で鳴く鳥", "1"], ["all", "3"],
    ]  # fmt: skip


def two_speakers(*columns):
    """Two clips of one speaker and one of another, with these columns of the source."""
    paths = ["yes/0a_nohash_0.wav", "yes/0a_nohash_1.wav", "no/0b_nohash_0.wav"]
    return clip_rows(3, path=paths, group=["x", None, "y"], partition=["fold-1", "train", "TEST"]).select(
        ["path", "label", *columns]
    )


def test_groups_of_the_source_count_where_there_are_any():
    clips, _ = assign(two_speakers("group"), "/nowhere", None, None)
    assert clips["group"].to_pylist() == ["x", "0a", "y"]
    assert clips["partition"].to_pylist() == [hash_partition(group) for group in ("x", "0a", "y")]
    clips, _ = assign(two_speakers("group"), "/nowhere", "path", None)
    assert clips["group"].to_pylist() == clips["path"].to_pylist()


def test_partitions_of_the_source_count_unless_there_is_a_split(tmp_path):
    clips, notes = assign(two_speakers("group", "partition"), str(tmp_path), None, None)
    assert clips["partition"].to_pylist() == ["fold-1", TRAINING, TESTING]
    assert notes == []
    clips, _ = assign(two_speakers("group", "partition"), str(tmp_path), None, (0, 100, 0))
    assert clips["partition"].to_pylist() == [VALIDATION] * 3
    assert clips.column_names == ["path", "label", "group", "partition"]


def test_lists_win_over_partitions_of_the_source_and_say_so(listed):
    source = scan(str(listed), labelled=True, pattern=r"(?P<label>\w+)/(?P<partition>.)_")  # a is not a partition
    clips, (note,) = assign(source.clips, source.root, None, None)
    assert clips["partition"].to_pylist() == [VALIDATION, TESTING, TESTING, TRAINING, TRAINING]
    assert str(listed) in note
    assert "move validation_list.txt and testing_list.txt away" in note
    assert assign(source.clips, source.root, None, (0, 0, 100))[1] == []
    (listed / "testing_list.txt").unlink()
    assert "move validation_list.txt away" in assign(source.clips, source.root, None, None)[1][0]


@pytest.mark.parametrize("rule", ["path", "content", r"(\d)"])
def test_a_group_that_moves_no_clip_is_warned_of(listed, tmp_path, rule):
    source = scan(listed, labelled=True)
    without, _ = assign(source.clips, source.root, None, None)
    clips, (note,) = assign(source.clips, source.root, rule, None)
    assert clips["partition"].equals(without["partition"])
    assert re.match(
        r"--group moves no clip .* validation_list\.txt and testing_list\.txt in .*; add --split 80/10/10", note
    )
    assert assign(source.clips, source.root, rule, (80, 10, 10))[1] == []
    named, elsewhere = two_speakers("group", "partition"), str(tmp_path / "elsewhere")
    clips, notes = assign(named, elsewhere, "path", None)
    assert [re.match("--group moves .* since the table's column or the names decide", note) is not None
            for note in notes] == [True]  # fmt: skip
    assert clips["partition"].equals(assign(named, elsewhere, None, None)[0]["partition"])
    assert assign(two_speakers("group"), elsewhere, "path", None)[1] == []


def test_of_a_selection_lists_may_name_more(listed):
    source = scan(str(listed), labelled=True)
    clips, notes = assign(source.clips.slice(1, 3), source.root, None, None)
    assert clips["partition"].to_pylist() == [TESTING, TESTING, TRAINING]
    assert notes == []


@pytest.mark.parametrize("value", [None, "some"])
def test_a_partition_in_a_path_that_is_none(value):
    clips = clip_rows(2, partition=["train", value])
    with pytest.raises(UsageError, match=rf"--label-pattern finds {value!r} in yes/00001_nohash_0\.wav.*--split"):
        assign(clips, "/nowhere", None, None)
    assert len(assign(clips, "/nowhere", None, (80, 10, 10))[0]) == 2


@pytest.mark.parametrize("evaluation", ["eval", "Evaluation"])
@pytest.mark.parametrize("test", ["test", "TESTING"])
def test_of_an_evaluation_and_a_test_in_paths_the_pattern_decides(evaluation, test):
    clips = clip_rows(4, partition=["train", evaluation, test, "fold-1"])
    with pytest.raises(UsageError, match=rf"'{evaluation}' and '{test}', and either .*P<partition>.*{test}.*\) does"):
        assign(clips.slice(1), "/nowhere", None, None)
    assert assign(clips.take([0, 1]), "/nowhere", None, None)[0]["partition"].to_pylist() == [TRAINING, TESTING]
    assert len(assign(clips, "/nowhere", None, (80, 10, 10))[0]) == 4


def test_classes_without_a_training_clip_are_remarked_on():
    clips = clip_rows(4, label=["a", "b", "b", "c"], partition=["training", "testing", "validation", "testing"])
    assert remarks(clips) == ["classes without a training clip, which no network learns: b, c"]
    folds = clip_rows(2, label=["a", "b"], partition=["fold-1", "fold-2"])
    assert remarks(folds) == [], "a training says which folds it takes"
