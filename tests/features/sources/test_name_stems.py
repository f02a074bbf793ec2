"""Names of parts of one recording in several partitions."""

import re
import shlex
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.sources import name_stems
from features.sources.groups import groups_of
from features.sources.name_stems import STEM, spread_stems
from features.sources.partition import hash_partitions


def listed(paths, partitions=None, groups=None):
    """Clips of these paths, whose labels are their first folders."""
    partitions = hash_partitions(paths) if partitions is None else partitions
    labels = [path.split("/")[0] for path in paths]
    return pa.table({"path": paths, "label": labels, "group": groups or paths, "partition": pa.array(partitions)})


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


def plainly(clips):
    """The number of stems in several partitions and the paths that are named, or None: by dictionaries."""
    rows = [row for row in clips.to_pylist() if row["path"] == row["group"]]
    stems = defaultdict(list)
    for row in rows:
        stems[re.match(STEM, row["path"])[1]].append(row)
    files = {stem: len({row["path"] for row in of}) for stem, of in stems.items()}
    date = re.compile(name_stems._DATE)
    shared = [stem for stem in stems if files[stem] > 1 and not date.search(stem)]
    spread = [stem for stem in shared if len({row["partition"] for row in stems[stem]} - {None}) > 1]
    classes = {min((row["label"] for row in stems[stem] if row["label"]), default=None) for stem in shared} - {None}
    if not spread or len(shared) < 2 * len(classes) or 2 * max(files[stem] for stem in shared) > sum(files.values()):
        return None
    named = sorted(stems[min(spread)], key=lambda row: row["path"])
    first = {row["partition"]: row["path"] for row in reversed(named)}
    return len(spread), {f"{path} ({partition})" for partition, path in first.items()}


@pytest.mark.parametrize("part_clips", [7, 299, 300, 301, name_stems._PART_CLIPS])
@pytest.mark.parametrize("encoded", [False, True])
def test_stems_are_those_of_a_plain_count(monkeypatch, part_clips, encoded):
    """Of random names, labels, groups and partitions, nulls among them, in tables of several chunks."""
    monkeypatch.setattr(name_stems, "_PART_CLIPS", part_clips)
    generator, hints = np.random.default_rng(part_clips), 0
    for stems in (2, 5, 40, 120) * 3:
        names = [f"{'ab'[number % 2]}/{'XC' * (number % 3)}{number}" for number in range(stems)]
        names += ["a/2019-05-06", "", "-", "é", "a/.", "b/x\t"]
        most = generator.random(300) < generator.choice([0, 0.7])  # those of one stem
        chosen = [names[number] for number in generator.integers(len(names), size=300)]
        paths = [name + ["", "_1", "-22", ".3", "_123456", " 4"][generator.integers(6)] + [".wav", ".flac", "", "."][
            generator.integers(4)] or "x" for name in chosen]  # fmt: skip
        paths = [f"a/0_{row}.wav" if is_most else path
                 for row, (path, is_most) in enumerate(zip(paths, most, strict=True))]  # fmt: skip
        labels = [[None, "owl", "wren", "tit"][number] for number in generator.integers(4, size=300)]
        partitions = [[None, *(f"fold-{fold}" for fold in range(1, 11))][number]
                      for number in generator.integers(11, size=300)]  # fmt: skip
        groups = [path if generator.random() < 0.9 else "speaker" for path in paths]
        columns = {"path": paths, "label": labels, "group": groups, "partition": partitions}
        whole = pa.table(columns)
        if encoded:
            for place in (1, 3):
                whole = whole.set_column(place, whole.column_names[place], pc.dictionary_encode(whole.column(place)))
        clips = pa.concat_tables([whole.slice(0, 100), whole.slice(100, 7), whole.slice(107)])
        expected, said = plainly(clips), spread_stems(clips)
        assert len(said) == (expected is not None)
        if said:
            hints += 1
            number, named = re.search(r"\(([\d,]+) such stems\): (.*); where they", said[0], re.DOTALL).groups()
            assert (int(number), set(named.split(" and "))) == expected
    assert 3 <= hints < 12


def test_few_bytes_a_clip_are_held():
    """The columns of numbers of all clips, and texts of some at a time alone."""
    paths = [f"class{number // 8 % 10}/rec{number // 8}_{number % 8}.wav" for number in range(400_000)]
    clips = listed(paths, [("training", "testing")[number % 2] for number in range(len(paths))])
    del paths
    held = []
    texts = name_stems._stem_texts

    def noted(part):
        held.append(pa.total_allocated_bytes())
        return texts(part)

    before = pa.total_allocated_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(name_stems, "_stem_texts", noted)
        assert "50,000 such stems" in spread_stems(clips)[0]
    assert max(held) - before < 20 * len(clips)
