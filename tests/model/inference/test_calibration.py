import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from model.inference.calibration import (
    LEAST_CLIPS,
    TEMPERATURES,
    Calibration,
    chance_calibration_error,
    expected_calibration_error,
    fit_temperature,
    fit_thresholds,
    reliability,
)
from model.inference.outputs import Outputs
from tests.signals import noise

LOGITS = Outputs(are_logits=True)


def drawn(clips: int, classes: int = 5, seed: int = 0, scale: float = 2.0):
    """Logits, and true classes drawn from the very probabilities that they give: of such the temperature is 1."""
    generator = np.random.default_rng(seed)
    logits = scale * generator.standard_normal((clips, classes))
    true = (softmax(logits, axis=1).cumsum(axis=1) < generator.random((clips, 1))).sum(axis=1)
    return logits.astype(np.float32), np.minimum(true, classes - 1)


def loss(logits, true, temperature: float = 1.0) -> float:
    return -log_softmax(logits.astype(np.float64) / temperature, axis=1)[np.arange(len(true)), true].mean()


@pytest.mark.parametrize("factor", [0.3, 0.5, 1.0, 2.0, 5.0])
def test_the_temperature_of_sharpened_logits_is_found(factor):
    logits, true = drawn(20_000)
    assert fit_temperature(factor * logits, true, LOGITS) == pytest.approx(factor, rel=0.03)


@pytest.mark.parametrize("factor", [0.3, 0.6, 1.0])
def test_outputs_that_are_probabilities_have_the_temperature_of_their_logits(factor):
    logits, true = drawn(2_000)
    found = fit_temperature(softmax(factor * logits, axis=1), true, Outputs(are_logits=False))
    assert found == pytest.approx(fit_temperature(factor * logits, true, LOGITS), rel=1e-3)


@pytest.mark.parametrize("factor", [0.4, 3.0])
def test_no_other_temperature_is_likelier(factor):
    logits, true = drawn(671, classes=8)
    logits = factor * logits
    best = min(loss(logits, true, temperature) for temperature in np.geomspace(0.2, 5, 300))
    assert loss(logits, true, fit_temperature(logits, true, LOGITS)) <= best + 1e-9


@given(st.integers(1, 40), st.integers(2, 4), st.floats(0.01, 50), st.integers(0, 2**32 - 1))
def test_the_likelihood_is_never_below_that_without_a_temperature(clips, classes, scale, seed):
    logits = noise(clips * classes, seed=seed, amplitude=scale).reshape(clips, classes)
    true = np.random.default_rng(seed).integers(0, classes, clips)
    temperature = fit_temperature(logits, true, LOGITS)
    assert TEMPERATURES[0] <= temperature <= TEMPERATURES[1]
    assert loss(logits, true, temperature) <= loss(logits, true)


@pytest.mark.parametrize("clips", [10, 100, 1_000])
@pytest.mark.parametrize("scale", [0.5, 3.0, 1e3])
def test_clips_that_are_all_right_make_a_network_no_surer_than_their_number_allows(clips, scale):
    true = np.arange(clips) % 3
    logits = (scale * np.eye(3, dtype=np.float32))[true]
    temperature = fit_temperature(logits, true, LOGITS)
    sureness = softmax(logits.astype(np.float64) / temperature, axis=1).max()
    if temperature != 1:
        assert sureness == pytest.approx((clips + 1) / (clips + 2), abs=1e-5)
    else:
        assert sureness >= (clips + 1) / (clips + 2), "it could have been surer"


def test_nothing_is_fitted_on_nothing():
    assert fit_temperature(np.empty((0, 3), np.float32), np.empty(0, int), LOGITS) == 1
    assert fit_temperature(np.ones((4, 3), np.float32), np.full(4, -1), LOGITS) == 1
    assert fit_temperature(np.ones((4, 1), np.float32), np.zeros(4, int), LOGITS) == 1
    assert fit_temperature(np.ones((4, 3), np.float32), np.zeros(4, int), LOGITS) == 1


def test_clips_of_no_class_do_not_count_for_the_temperature():
    logits, true = drawn(500)
    more = np.concatenate([logits, 100 * logits[:50]])
    found = fit_temperature(more, np.append(true, np.full(50, -1)), LOGITS)
    assert found == fit_temperature(logits, true, LOGITS)


def plain_threshold(scores: list[float], right: list[bool], target: float) -> float | None:
    """Tries every probability that is there, from the smallest on."""
    for threshold in sorted(set(scores)):
        above = [hit for score, hit in zip(scores, right, strict=True) if score >= threshold]
        if len(above) >= LEAST_CLIPS and sum(above) / len(above) >= target - 1e-9:
            return threshold
    return None


@given(
    st.integers(0, 80), st.integers(2, 4), st.sampled_from([0.1, 0.5, 0.8, 0.9, 0.99, 1.0]), st.booleans(),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_thresholds_are_those_of_trying_every_one(clips, classes, target, with_ties, seed):
    logits, true = drawn(clips, classes, seed)
    probabilities = softmax(3 * logits, axis=1)
    if with_ties:
        probabilities = np.round(probabilities, 1)
    labels = [f"k{number}" for number in range(classes)]
    found = fit_thresholds(probabilities, true, labels, target)
    assert list(found) == labels
    winners = probabilities.argmax(axis=1) if clips else np.empty(0, int)
    for number, label in enumerate(labels):
        won = winners == number
        scores, right = probabilities[won, number].tolist(), (true[won] == number).tolist()
        assert found[label] == plain_threshold(scores, right, target)


@pytest.mark.parametrize("clips", [0, 1, LEAST_CLIPS - 1, LEAST_CLIPS, LEAST_CLIPS + 1])
def test_a_threshold_takes_a_number_of_clips(clips):
    probabilities = np.tile(np.array([0.8, 0.2], np.float32), (clips, 1))
    found = fit_thresholds(probabilities, np.zeros(clips, int), ["a", "b"], 0.9)
    assert found == {"a": float(np.float32(0.8)) if clips >= LEAST_CLIPS else None, "b": None}


@pytest.mark.parametrize("clips", [10, 20, 30, 70, 190])
def test_nine_of_ten_is_nine_tenths(clips):
    probabilities = np.tile(np.array([0.8, 0.2]), (clips, 1))
    true = (np.arange(clips) % 10 == 0).astype(int)
    assert fit_thresholds(probabilities, true, ["a", "b"], 0.9)["a"] == 0.8
    true[1] = 1
    assert fit_thresholds(probabilities, true, ["a", "b"], 0.9)["a"] is None


def test_clips_of_no_class_are_mistakes_for_thresholds():
    probabilities = np.array([[0.9, 0.1]] * 20 + [[0.8, 0.2]] * 20)
    assert fit_thresholds(probabilities, np.array([0] * 20 + [-1] * 20), ["a", "b"], 0.9)["a"] == 0.9


def test_the_calibration_error_is_the_mean_distance_in_fifteen_bins():
    # Two bins: 3 clips at 0.9 of which 2 are right, 1 clip at 0.6 that is wrong.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.4, 0.6]])
    true = np.array([0, 1, 1, 0])
    assert expected_calibration_error(probabilities, true) == pytest.approx(3 / 4 * abs(0.9 - 2 / 3) + 1 / 4 * 0.6)


@given(st.integers(0, 60), st.integers(2, 5), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_the_calibration_error_is_that_of_plain_loops(clips, classes, bins, seed):
    logits, true = drawn(clips, classes, seed)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    total = 0.0
    for number in range(bins):
        lower, upper = number / bins, (number + 1) / bins
        inside = [row for row in range(clips) if lower < probabilities[row].max() <= upper]
        if inside:
            sure = np.mean([probabilities[row].max() for row in inside])
            right = np.mean([probabilities[row].argmax() == true[row] for row in inside])
            total += len(inside) / clips * abs(sure - right)
    assert expected_calibration_error(probabilities, true, bins) == pytest.approx(total, abs=1e-9)


def test_probabilities_that_are_true_have_nearly_no_calibration_error():
    logits, true = drawn(50_000)
    assert expected_calibration_error(softmax(logits, axis=1), true) < 0.01
    assert expected_calibration_error(softmax(3 * logits, axis=1), true) > 0.1


@pytest.mark.parametrize("clips", [1, 50, 500])
def test_the_error_by_chance_is_that_of_probabilities_that_are_true(clips):
    logits, _ = drawn(clips)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    generator = np.random.default_rng(1)
    winners = probabilities.argmax(axis=1)
    right = generator.random((500, clips)) < probabilities.max(axis=1)
    errors = [expected_calibration_error(probabilities, np.where(row, winners, -1)) for row in right]
    assert chance_calibration_error(probabilities) == pytest.approx(np.mean(errors), rel=0.1)


def test_of_no_clips_there_is_no_error():
    assert chance_calibration_error(np.empty((0, 3))) == 0
    assert expected_calibration_error(np.empty((0, 3)), np.empty(0, int)) == 0
    assert np.isnan(reliability(np.empty((0, 3)), np.empty(0, int)).accuracy).all()


def test_every_clip_is_in_one_bin_at_the_edges_too():
    sureness = np.linspace(0, 1, 16)
    probabilities = np.stack([sureness, np.zeros(16)], axis=1)
    table = reliability(probabilities, np.zeros(16, int))
    assert table.clips.sum() == 16
    assert table.clips[0] == 2  # 0 and 1/15
    assert table.clips[-1] == 1
    filled = table.clips > 0
    assert (table.confidence[filled] <= table.edges[1:][filled] + 1e-12).all()
    assert (table.accuracy[filled] == 1).all()


@pytest.mark.parametrize(
    "calibration",
    [
        Calibration(),
        Calibration(1.37, {"a": 0.5, "b": None}, 0.9),
    ],
)
def test_a_calibration_comes_back_from_json(calibration):
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration
    assert calibration.without_threshold == (["b"] if calibration.thresholds else [])


@pytest.mark.parametrize(
    "values",
    [
        (0.0, None, None),
        (math.nan, None, None),
        (1.0, {"a": 0.5}, None),
        (1.0, None, 0.9),
        (1.0, {"a": 1.5}, 0.9),
        (1.0, {"a": math.nan}, 0.9),
    ],
)
def test_what_no_calibration_has_is_refused(values):
    with pytest.raises(ValueError):
        Calibration(*values)
