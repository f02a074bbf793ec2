import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.store.statistics import Statistics, Sums

# Of the sum of the absolute values: of each clip the sums over 128 frames are rounded as float32.
OFF = 128 * 2.0**-24


def values(clips, shape=(5, 7), scale=3.0, shift=-2.0, dtype="float32"):
    return (np.random.default_rng(clips).standard_normal((clips, *shape)) * scale + shift).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("clips", [1, 63, 64, 65, 200])
def test_sums_are_numpys(clips, dtype):
    features = values(clips, dtype=dtype)
    rows = features.astype(np.float64).reshape(-1, 7)
    statistics = Statistics.of(features)
    assert statistics.count == len(rows)
    assert_near(statistics, rows)


def assert_near(statistics, rows):
    """No sum is off by more than is promised, and by far less where errors are random."""
    for found, added in ((statistics.total, rows), (statistics.squares, rows**2)):
        error = np.abs(np.array(found) - [math.fsum(column) for column in added.T])
        assert (error <= OFF * np.abs(added).sum(axis=0)).all()
        assert (error <= 4e-7 * np.abs(added).sum(axis=0)).all()


@pytest.mark.parametrize("frames", [1, 2, 127, 128, 129, 255, 256, 257, 3000])
def test_sums_over_any_number_of_frames(frames):
    features = values(5, (frames, 3), scale=2.0, shift=-80.0)
    assert_near(Statistics.of(features), features.astype(np.float64).reshape(-1, 3))


@pytest.mark.parametrize("shape", [(124, 129), (98, 40), (1, 40), (40,), (129, 1), (300, 7)])
def test_sums_do_not_depend_on_where_clips_lie_in_memory(shape):
    features = values(20, shape)
    memory = np.empty(features.size + 16, np.float32)
    for place in range(16):
        moved = memory[place : place + features.size].reshape(features.shape)
        moved[...] = features
        assert Statistics.of(moved) == Statistics.of(features)


def test_values_whose_squares_are_too_large_for_float32():
    features = values(6) * np.float32(1e30)
    features[4, 0, 0] = np.inf
    sums = Sums((5, 7))
    assert sums.add(features) == [True] * 4 + [False, True]
    rows = np.delete(features, 4, axis=0).astype(np.float64).reshape(-1, 7)
    np.testing.assert_allclose(sums.statistics().squares, (rows**2).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(sums.statistics().total, rows.sum(axis=0), atol=1e-12 * np.abs(rows).sum())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("scale", "shift"), [(3.0, -2.0), (1e-3, 0.0), (1.0, 100.0), (0.0, 5.0)])
def test_mean_and_variance_are_numpys(dtype, scale, shift):
    features = values(100, scale=scale, shift=shift, dtype=dtype)
    mean, variance = Statistics.of(features).scalar()
    assert mean == pytest.approx(features.mean(dtype=np.float64), rel=1e-7, abs=1e-7 * scale)
    squares = float(np.square(features, dtype=np.float64).mean())
    assert variance == pytest.approx(features.astype(np.float64).var(), abs=1e-7 * squares)


@given(st.lists(st.integers(0, 100), max_size=6), st.randoms(use_true_random=False))
def test_every_split_adds_up_to_the_same(cuts, random):
    features = values(100)
    parts = [Statistics.of(part) for part in np.split(features, sorted(cuts))]
    whole, merged = Statistics.of(features), Statistics.merge(parts)
    assert merged.count == whole.count
    np.testing.assert_allclose(merged.total, whole.total, rtol=1e-12)
    np.testing.assert_allclose(merged.squares, whole.squares, rtol=1e-12)
    random.shuffle(parts)
    assert Statistics.merge(parts) == merged, "to the bit, in any order"


def test_nothing_counted():
    empty = Statistics.of(np.empty((0, 5, 7), np.float32))
    assert (empty.count, empty.total, empty.squares) == (0, (0.0,) * 7, (0.0,) * 7)
    for nothing in (empty, Statistics.merge([]), Statistics.merge([empty, empty])):
        with pytest.raises(ValueError, match="no values"):
            nothing.scalar()
    one = Statistics.of(values(1))
    assert Statistics.merge([empty, one, Statistics.merge([])]) == one


def test_a_constant_has_no_negative_variance():
    for value in (0.1, 1e4, -3.3):
        assert 0 <= Statistics.of(np.full((999, 3, 3), value, np.float32)).scalar()[1] < 1e-6 * value**2


def test_coefficients_of_different_sets_do_not_mix():
    with pytest.raises(ValueError, match=r"shorter|longer"):
        Statistics.merge([Statistics.of(values(2)), Statistics.of(values(2, shape=(5, 8)))])


def test_round_trip_through_json():
    statistics = Statistics.of(values(10))
    assert Statistics.from_dict(json.loads(json.dumps(statistics.to_dict()))) == statistics


@pytest.mark.parametrize("shape", [(5, 7), (40,)])
@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_sums_do_not_depend_on_batches_and_leave_out_what_is_not_finite(batch, shape):
    features = values(100, shape)
    expected = Statistics.of(features)
    mixed = np.insert(features, [0, 50, 50, 100], np.float32(1), axis=0)
    mixed[[0, 51, 52, 103]] *= np.array([np.nan, np.inf, -np.inf, np.nan], np.float32).reshape(4, *[1] * len(shape))
    mixed[103, ..., 1:] = 0  # one value of all
    sums = Sums(shape)
    added = [good for first in range(0, len(mixed), batch) for good in sums.add(mixed[first : first + batch])]
    assert [row for row, good in enumerate(added) if not good] == [0, 51, 52, 103]
    assert sums.statistics() == expected


@pytest.mark.parametrize("deviation", [0.0, 1e-5, 0.019])
def test_a_band_that_stands_still_has_the_variance_of_all_bands_together(deviation):
    features = values(400)
    features[..., 5:] = features[..., 5:] / 3 * deviation - 6.9
    statistics = Statistics.of(features)
    mean, variance = statistics.by_band()
    assert statistics.still_bands().tolist() == [False] * 5 + [True] * 2
    rows = features.astype(np.float64).reshape(-1, 7)
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(variance[:5], rows.var(axis=0)[:5], rtol=1e-6)
    np.testing.assert_allclose(variance[5:], rows.var(), rtol=1e-6)


def test_bands_that_differ_much_keep_their_own_variance():
    features = values(400) * np.array([1, 0.1, 0.05, 0.03, 0.03, 0.03, 0.03], np.float32)  # as MFCCs do
    statistics = Statistics.of(features)
    assert not statistics.still_bands().any()
    expected = features.astype(np.float64).reshape(-1, 7).var(axis=0)
    np.testing.assert_allclose(statistics.by_band()[1], expected, rtol=1e-6)


@pytest.mark.parametrize("bands", [[0.0], [-6.9, -6.9], [1.0, 2.0, 3.0]])
def test_features_that_never_change_have_a_variance_above_zero(bands):
    statistics = Statistics.of(np.tile(np.array(bands, np.float32), (10, 4, 1)))
    assert statistics.still_bands().all()
    spread = np.var(np.float32(bands), dtype=np.float64)
    np.testing.assert_allclose(statistics.by_band()[1], [spread or 1.0] * len(bands), rtol=1e-6)
