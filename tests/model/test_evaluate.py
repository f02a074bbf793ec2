from model.evaluate import _intervals

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
