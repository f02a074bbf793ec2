import pytest

from model.evaluation.evaluation_folder import choose_examples
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
