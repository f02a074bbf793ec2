import numpy as np
import pytest
from scipy.stats import binomtest

from model.evaluation.metrics import (
    average_precision,
    class_scores,
    confusion_matrix,
    cross_entropy,
    roc_auc,
    wilson_interval,
)


def random_labels(seed: int, clips: int, true_of: list[int], predicted_of: list[int]):
    generator = np.random.default_rng(seed)
    return generator.choice(true_of, clips), generator.choice(predicted_of, clips)


CASES = {
    "all classes": (200, [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
    "a class without clips": (100, [0, 1, 3, 4], [0, 1, 2, 3, 4]),
    "a class that is never predicted": (100, [0, 1, 2, 3, 4], [0, 2, 4]),
    "a class without clips that is never predicted": (50, [0, 4], [0, 1, 4]),
    "one clip": (1, [3], [2]),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", CASES)
def test_class_scores_are_those_of_scikit_learn(scikit_learn, case, seed):
    true, predicted = random_labels(seed, *CASES[case])
    confusion = confusion_matrix(true, predicted, 5)
    expected = scikit_learn(
        f"confusion, {case}, seed {seed}",
        lambda theirs: theirs.metrics.confusion_matrix(true, predicted, labels=range(5)),
    )
    np.testing.assert_array_equal(confusion, expected)
    scores = class_scores(confusion)
    expected = scikit_learn(
        f"scores, {case}, seed {seed}",
        lambda theirs: theirs.metrics.precision_recall_fscore_support(
            true, predicted, labels=range(5), zero_division=0
        ),
    )
    for mine, theirs in zip((scores.precision, scores.recall, scores.f1, scores.support), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_cross_entropy_is_that_of_scikit_learn(scikit_learn, seed):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(5), 100).astype(np.float32)
    true = generator.integers(0, 4, 100)  # class 4 has no clips
    normal = probabilities / probabilities.sum(axis=1, keepdims=True)
    expected = scikit_learn(
        f"cross-entropy, seed {seed}", lambda theirs: theirs.metrics.log_loss(true, normal, labels=range(5))
    )
    assert cross_entropy(probabilities, true) == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_of_a_sure_mistake_is_finite():
    assert cross_entropy(np.array([[1.0, 0.0]], np.float32), np.array([1])) == pytest.approx(-np.log(1e-7))


@pytest.mark.parametrize("clips", [0, 1, 2])
def test_cross_entropy_of_sure_and_right_predictions_is_printed_without_a_sign(clips):
    loss = cross_entropy(np.ones((clips, 1), np.float32), np.zeros(clips, np.int64))
    assert f"{loss:.4f}" == "0.0000"


@pytest.mark.parametrize(("correct", "total"), [(0, 1), (1, 1), (0, 30), (30, 30), (7, 9), (484, 500), (1, 10_000)])
def test_wilson_interval_is_that_of_scipy(correct, total):
    expected = binomtest(correct, total).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson_interval(correct, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_of_nothing_nothing_is_known():
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("clips", "digits"), [(2, 7), (3, 7), (100, 7), (101, 1), (400, 2)], ids=["2", "3", "100", "101 tied", "400 tied"]
)
def test_rankings_are_those_of_scikit_learn(scikit_learn, clips, digits, seed):
    generator = np.random.default_rng([seed, clips])
    scores = np.round(generator.random(clips), digits).astype(np.float32)
    positive = generator.random(clips) < 0.3 + 0.4 * scores
    positive[:2] = True, False
    name = f"{clips} clips, {digits} digits, seed {seed}"
    expected = scikit_learn(
        f"average precision, {name}", lambda theirs: theirs.metrics.average_precision_score(positive, scores)
    )
    assert average_precision(scores, positive) == pytest.approx(float(expected), rel=1e-12)
    expected = scikit_learn(f"ROC AUC, {name}", lambda theirs: theirs.metrics.roc_auc_score(positive, scores))
    assert roc_auc(scores, positive) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("clips", [0, 1, 5])
def test_a_ranking_of_one_kind_of_clips_is_undefined(clips):
    scores = np.linspace(0, 1, clips)
    nothing = np.zeros(clips, bool)
    assert average_precision(scores, nothing) is None
    assert roc_auc(scores, nothing) is None
    assert roc_auc(scores, ~nothing) is None
    assert average_precision(scores, ~nothing) == (1.0 if clips else None)
