from features.runtime.visible import num_columns
from model.evaluate import _alarms_table, _class_table, _intervals

METRICS = {
    "interval_95": [0.75, 0.85], "interval_95_by_group": [0.7, 0.875], "groups": 20, "clips": 300,
    "groups_accuracy": {"quartiles": [0.5, 0.75, 1.0]},
}  # fmt: skip


def test_both_intervals_are_named():
    assert _intervals(METRICS) == (
        "95 % interval 0.7500 to 0.8500 if clips were independent, 0.7000 to 0.8750 by the 20 groups, half of which "
        "are between 0.5000 and 1.0000"
    )


def test_where_each_clip_is_its_own_group_both_are_one():
    text = _intervals({**METRICS, "groups": 300, "interval_95_by_group": [0.75, 0.85]})
    assert text == "95 % interval 0.7500 to 0.8500, by clip and by group, since each clip is a group of its own"


def test_classes_are_a_table_whose_columns_stand_below_each_other():
    scores = {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "clips": 1_234}
    lines = _class_table({"classes": {"go": scores, "-5 dB of a long name": {**scores, "clips": 0}}})
    assert [line.split() for line in lines[:2]] == [
        ["class", "precision", "recall", "f1", "clips"],
        ["go", "0.500", "1.000", "0.667", "1,234"],
    ]
    assert lines[2].startswith("-5 dB of a long name      0.500")
    assert len({len(line) for line in lines}) == 1


def test_columns_stand_below_each_other_whatever_the_names_are():
    scores = {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "clips": 1}
    lines = _class_table({"classes": dict.fromkeys(["日本語で鳴く鳥", "a\nb", "a\\x0ab", "שלמ", "e\u0301te"], scores)})
    assert len({num_columns(line) for line in lines}) == 1
    assert [line.split()[0] for line in lines[1:]] == ["日本語で鳴く鳥", "a\\x0ab", "a\\x0ab", "שלמ", "e\u0301te"]


def test_a_class_without_a_threshold_is_in_the_table_of_alarms():
    alarm = {"threshold": None, "alarms": 0, "alarms_per_hour": 0.0}
    lines = _alarms_table({"classes": {"a": alarm, "b": {"threshold": 0.5, "alarms": 12_000, "alarms_per_hour": 7.25}}})
    assert [line.split() for line in lines[1:]] == [["a", "none", "0", "0.0"], ["b", "0.500", "12,000", "7.2"]]
    assert len({len(line) for line in lines}) == 1
