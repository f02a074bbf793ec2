import pytest

from features.sources.paths import unescape_path
from model.evaluation.evaluation_folder import choose_examples, mistakes_first, prediction_rows
from tests.model.evaluation.guesses import guess


def test_the_surest_mistakes_come_first_among_the_examples():
    predictions = guess(("a", "a", 0.9), ("a", "b", 0.6), ("b", "b", 0.7), ("c", "a", 0.95), ("b", "a", 0.8))
    assert choose_examples(predictions, ["a", "b"]) == [3, 4, 1, 2, 0]


@pytest.mark.parametrize(
    ("wrong", "right", "mistakes"), [(0, 30, 0), (5, 30, 5), (30, 30, 12), (30, 2, 14), (30, 0, 16), (1, 1, 1)]
)
def test_mistakes_leave_room_for_a_few_right_ones(wrong, right, mistakes):
    predictions = guess(*[("a", "a", 0.8)] * right, *[("a", "b", 0.8)] * wrong)
    shown = choose_examples(predictions, ["a", "b"])
    assert len(shown) == min(16, wrong + right) == len(set(shown))
    correct = predictions.correct(["a", "b"])
    assert [bool(correct[row]) for row in shown] == [False] * mistakes + [True] * (len(shown) - mistakes)


def test_equally_sure_predictions_are_in_the_order_of_the_paths_bytes():
    predictions = guess(*[("a", "a", 0.8), ("b", "a", 0.8)] * 3)
    paths = ["é.wav", "\\\\x.wav", "Z.wav", "\\xff.wav", "a.wav", "\\xe9.wav"]
    predictions.paths[:] = paths
    rows = mistakes_first(predictions, ["a", "b"])
    wrong, right = ([paths[row] for row in part] for part in (rows[:3], rows[3:]))
    assert (set(wrong), set(right)) == (set(paths[1::2]), set(paths[::2]))
    assert (wrong, right) == (sorted(wrong, key=unescape_path), sorted(right, key=unescape_path))


def test_lines_keep_their_clips_whatever_their_order():
    predictions = guess(("a", "a", 0.9), ("c", "b", 0.6), ("b", "b", 0.7), ("b", "a", 0.95))
    header, *lines = prediction_rows(predictions, ["a", "b"], ("fold", ["one", "two", "three", "four"]))
    assert header == ("path", "true", "predicted", "probability", "fold")
    assert lines == [
        ("3.wav", "b", "a", "0.950000", "four"),
        ("1.wav", "c", "b", "0.600000", "two"),
        ("2.wav", "b", "b", "0.700000", "three"),
        ("0.wav", "a", "a", "0.900000", "one"),
    ]
