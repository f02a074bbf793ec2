import numpy as np
import pytest
from scipy.optimize import approx_fprime
from threadpoolctl import threadpool_limits

from model.training import logistic_regression
from model.training.augment import class_weights
from model.training.logistic_regression import CONVERGED, Clips, Directions, Solution, cross_entropy, solve

# Clips, values, classes; fewer clips than values too, as of embeddings.
SIZES = {"more clips": (80, 6, 3), "as many": (30, 30, 4), "fewer clips": (25, 60, 3), "one clip": (1, 4, 3)}


@pytest.fixture(autouse=True)
def one_thread():
    with threadpool_limits(limits=1):  # as a training has it; more take turns here
        yield


def made(name: str) -> tuple[np.ndarray, np.ndarray]:
    clips, values, classes = SIZES[name]
    generator = np.random.default_rng(len(name))
    ids = generator.integers(0, classes, clips)
    centres = generator.normal(0, 0.7, (classes, values))
    # Values that go together, some much more than others.
    mixed = generator.normal(size=(values, values)) * np.exp(-np.arange(values) / 8)
    return (centres[ids] + generator.normal(size=(clips, values))) @ mixed, ids


def fit(features, ids, classes, l2, weights=None):
    """Returns the weights of the values, (values, classes), and the bias."""
    directions = Directions.of(features)
    shares = np.ones(len(ids)) if weights is None else weights[ids].astype(float)
    clips = Clips(directions.along(features), ids, shares / shares.sum())
    solution = solve(clips, directions, l2, Solution.zeros(len(directions.squares), classes))
    return directions.weights(solution), solution.bias


@pytest.mark.parametrize("balance", ["none", "weights"])
@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("name", ["more clips", "as many", "fewer clips"])
def test_weights_are_those_of_scikit_learn(scikit_learn, name, l2, balance):
    features, ids = made(name)
    classes = SIZES[name][2]
    weights = class_weights(np.bincount(ids, minlength=classes), balance)

    def computed(library):
        given = dict(fit_intercept=True, max_iter=100_000, tol=1e-9, solver="lbfgs", class_weight=None)
        found, _, _ = library.linear_model._logistic._logistic_regression_path(
            features, ids, classes=np.arange(classes), Cs=[1 / (l2 * len(ids))],
            sample_weight=weights[ids].astype(float), **given,
        )  # fmt: skip
        return found[0]

    expected = scikit_learn(f"logistic regression, {name}, l2 {l2:g}, balance {balance}", computed)
    found, bias = fit(features, ids, classes, l2, weights)
    most = np.abs(expected).max()
    np.testing.assert_allclose(found.T, expected[:, :-1], atol=3e-4 * most)
    np.testing.assert_allclose(bias - bias.mean(), expected[:, -1] - expected[:, -1].mean(), atol=3e-4 * most)
    shares = weights[ids].astype(float)
    clips = Clips(features, ids, shares / shares.sum())
    mine, _ = clips.objective(Solution(found, bias), l2)
    theirs, _ = clips.objective(Solution(expected[:, :-1].T, expected[:, -1]), l2)
    assert mine == pytest.approx(theirs, abs=1e-11)


@pytest.mark.parametrize("name", SIZES)
def test_the_gradient_is_that_of_differences(name):
    features, ids = made(name)
    classes = SIZES[name][2]
    generator = np.random.default_rng(2)
    shares = generator.uniform(0.1, 1, len(ids))
    clips = Clips(features, ids, shares / shares.sum())
    shape = features.shape[1], classes
    point = generator.normal(0, 0.1, shape[0] * classes + classes)

    def objective(point):
        return clips.objective(Solution(point[:-classes].reshape(shape), point[-classes:]), 0.3)

    _, gradient = objective(point)
    expected = approx_fprime(point, lambda point: objective(point)[0], 1e-7)
    np.testing.assert_allclose(np.concatenate([gradient.weights.ravel(), gradient.bias]), expected, atol=1e-5)


@pytest.mark.parametrize("name", SIZES)
def test_the_way_along_directions_ends_where_that_along_values_does(name, monkeypatch):
    features, ids = made(name)
    along, bias = fit(features, ids, SIZES[name][2], 1e-2)
    monkeypatch.setattr(logistic_regression, "_MOST_DIRECTIONS", 0)
    values, their_bias = fit(features, ids, SIZES[name][2], 1e-2)
    np.testing.assert_allclose(along, values, atol=max(1e-4 * np.abs(values).max(), 1e-5))
    if len(ids) > 1:  # of one class, the bias goes on without end
        np.testing.assert_allclose(bias, their_bias, atol=1e-4)


@pytest.mark.parametrize("l2", [10.0, 1e-2, 1e-5])
def test_classes_that_a_line_parts_have_an_end_too(l2):
    features, ids = made("fewer clips")
    directions = Directions.of(features)
    clips = Clips(directions.along(features), ids, np.full(len(ids), 1 / len(ids)))
    solution = solve(clips, directions, l2, Solution.zeros(len(directions.squares), 3))
    loss, gradient = clips.objective(solution, l2)
    assert np.abs(gradient.bias).max() < 10 * CONVERGED
    assert np.sum(gradient.weights**2) / (2 * l2) < 1e-4 * loss, "what is left is no more than that above the smallest"


def test_what_is_not_solved_for_to_the_end_is_said(caplog, monkeypatch):
    features, ids = made("more clips")
    fit(features, ids, 3, 1e-2)
    assert not caplog.records
    monkeypatch.setattr(logistic_regression, "_MOST_STEPS", 2)
    fit(features, ids, 3, 1e-2)
    assert "warning: L2 0.01 is not solved for to the end: after 2 steps the gradient is " in caplog.text


def test_a_class_without_clips_and_values_that_stand_still_do_no_harm():
    features, ids = made("more clips")
    features[:, 2] = 0
    weights, bias = fit(features, ids, 4, 1e-2)
    assert np.isfinite(weights).all()
    assert np.abs(weights[2]).max() < 1e-9
    assert bias[3] < bias[:3].min() - 5
    without, _ = fit(features, ids, 3, 1e-2)
    np.testing.assert_allclose(weights[:, :3], without, atol=1e-3)
    nothing, bias = fit(np.zeros((10, 3)), ids[:10], 3, 1e-2)
    assert not nothing.any()
    shares = np.bincount(ids[:10], minlength=3) / 10
    np.testing.assert_allclose(np.exp(bias) / np.exp(bias).sum(), shares, atol=1e-6)


def test_cross_entropy_is_that_of_probabilities():
    logits, ids = np.log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]), np.array([0, 1])
    logits[1] -= 700
    assert cross_entropy(logits, ids) == pytest.approx(-(np.log(0.5) + np.log(0.1)) / 2)
