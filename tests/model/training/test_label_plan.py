import numpy as np
import pyarrow as pa
import pytest

from features.errors import UsageError
from features.store.manifest import load_manifest
from model.training.holdout import clips_of, is_selected
from model.training.label_plan import LabelPlan, fixed_draw, label_rows
from model.training.settings import LabelSettings
from model.training.trainer import train
from tests.conftest import clips_table

LABELS = ["cat", "dog", "no", "yes"]
U, S = "_unknown_", "_silence_"


def plan(**settings) -> LabelPlan:
    return LabelPlan(LabelSettings(**settings))


@pytest.mark.parametrize(
    ("settings", "labels", "counted", "classes"),
    [
        ({}, LABELS, LABELS, LABELS),
        ({}, [S, U, "a"], [S, U, "a"], [S, U, "a"]),  # as they were before there were classes of these names
        ({"classes": ("yes", "no")}, LABELS, [U, U, "no", "yes"], ["no", "yes", U]),
        ({"unknown": ("cat",)}, LABELS, [U, "dog", "no", "yes"], ["dog", "no", "yes", U]),
        ({"classes": ("yes", "no"), "unknown": ("cat",)}, LABELS, [U, None, "no", "yes"], ["no", "yes", U]),
        ({"classes": ("yes", "no"), "silence_share": 0.1}, LABELS, [U, U, "no", "yes"], ["no", "yes", S, U]),
        ({"silence_share": 0.1}, LABELS, LABELS, [*LABELS, S]),
        ({"classes": ("a",), "silence_share": 0.1}, [S, U, "a", "b"], [S, U, "a", U], ["a", S, U]),
        ({"classes": ("a",)}, [S, U, "a"], [U, U, "a"], ["a", U]),
        ({"classes": (S, "a")}, [S, U, "a"], [S, U, "a"], ["a", S, U]),
        ({"classes": ("a",), "unknown": (U,)}, [U, "a", "b"], [U, "a", None], ["a", U]),
        ({"classes": ("cat", "dog", "no", "yes")}, LABELS, LABELS, LABELS),
    ],
)
def test_what_labels_count_as_and_the_classes_that_follow(settings, labels, counted, classes):
    one = plan(**settings)
    assert [one.class_of(label) for label in labels] == counted
    assert one.classes(labels) == classes
    one.check(labels, "set/")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ("yess", "no")}, "--classes names 'yess', and set/ has no such label; near it are yes"),
        ({"unknown": ("zebra",)}, "--unknown names 'zebra', and set/ has no such label; there are cat, dog, no, yes"),
        ({"classes": ("yes", "no"), "unknown": ("no",)}, "--classes and --unknown both name 'no'"),
        ({"classes": ("yes", U)}, f"give --unknown {U}"),
        ({"unknown": tuple(LABELS)}, "no label of set/ is left to be a class"),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_the_way_out(settings, message):
    labels = [U, *LABELS] if U in settings.get("classes", ()) else LABELS
    with pytest.raises(UsageError, match=message):
        plan(**settings).check(labels, "set/")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ("hihg",)}, "no such label; near it are high"),
        ({"unknown": ("high", "low", "middle")}, "all of them are in --unknown"),
    ],
)
def test_a_training_with_such_labels_leaves_no_folder(feature_set, tmp_path, settings, message):
    with pytest.raises(UsageError, match=message):
        train(str(feature_set), str(tmp_path / "run"), settings)
    assert not (tmp_path / "run").exists()


def test_shares_are_of_the_clips_of_kept_labels():
    one = plan(classes=("yes",), unknown_share=0.1, silence_share=0.25)
    assert [one.share(kept, 1000) for kept in (100, 104, 106, 3)] == [10, 10, 11, 1]
    assert one.share(100, 7) == 7  # at most all there are
    assert one.share(100, 0) == 0
    assert one.share(0, 5) == 5  # of a set without kept labels, all
    assert [one.silence(kept) for kept in (100, 1, 0)] == [25, 1, 0]
    assert plan(classes=("yes",)).silence(100) == 0
    assert plan(silence_share=1.0).share(10, 500) == 500  # clips that the set itself calls unknown are not drawn


def drawn(folder, within=None, partitions=("training", "validation", "testing"), **settings) -> dict[str, str]:
    """Label by path of the clips that a draw leaves."""
    manifest, one = load_manifest(folder), plan(**settings)
    draw = fixed_draw(folder, manifest, partitions, one, one.classes(manifest.classes), within)
    clips = clips_table(folder, manifest).to_pylist()
    place = {(clip["shard"], clip["row"]): clip for clip in clips}
    chosen = [place[name, row] for name, rows in draw.selection.items() for row in rows.tolist()]
    found = {clip["path"]: clip["label"] for clip in chosen}
    assert len(found) == len(chosen), "a row comes once"
    assert draw.unknown == sum(one.class_of(label) == U for label in found.values())
    return found


def test_the_draw_to_test_on_follows_from_paths_and_not_from_rows(feature_set, small_shards):
    settings = {"classes": ("high",), "unknown_share": 0.5}
    both = ("training", "validation")
    one = drawn(feature_set, partitions=both, **settings)
    assert one == drawn(small_shards["parquet"], partitions=both, **settings)
    labels = list(one.values())
    assert labels.count("high") > 20
    assert len(labels) - labels.count("high") == round(0.5 * labels.count("high"))
    assert {"low", "middle"} <= set(labels), "the smallest hashes are of clips of both"


def test_clips_that_come_move_nobody_but_the_last(feature_set):
    settings = {"classes": ("high",), "unknown_share": 0.5}
    whole = drawn(feature_set, **settings)
    manifest = load_manifest(feature_set)
    rows = label_rows(feature_set, manifest, manifest.partitions, plan(**settings), ["high", U])
    generator = np.random.default_rng(0)
    for share in (0.9, 0.5):
        there = (rows.kind == 0) | (generator.random(len(rows.kind)) < share)
        clips = clips_of(feature_set, manifest, manifest.partitions, ["path"])
        paths = set(clips.filter(pa.array(is_selected(clips, rows.selection(there))))["path"].to_pylist())
        fewer = drawn(feature_set, rows.selection(there), **settings)
        assert {path for path in whole if path in paths} <= set(fewer)
        assert len(fewer) == len(whole)


def test_labels_that_are_not_used_are_counted_and_left_out(feature_set):
    manifest, one = load_manifest(feature_set), plan(classes=("high",), unknown=("low",), unknown_share=100.0)
    draw = fixed_draw(feature_set, manifest, ["testing"], one, ["high", U])
    of = {label: counts.get("testing", 0) for label, counts in manifest.counts["classes"].items()}
    assert draw.left_out == {"middle": of["middle"]}
    assert sum(map(len, draw.selection.values())) == of["high"] + of["low"]
    assert (draw.unknown, draw.unknown_of) == (of["low"], of["low"])


def test_without_settings_every_row_is_used(feature_set):
    manifest = load_manifest(feature_set)
    assert fixed_draw(feature_set, manifest, ["testing"], LabelPlan(), manifest.classes).selection is None
