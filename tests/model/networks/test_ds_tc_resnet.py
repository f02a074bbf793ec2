import numpy as np
import pytest

from features.store.statistics import Statistics
from model.networks.ds_tc_resnet import ds_tc_resnet


def statistics(bands: int) -> Statistics:
    return Statistics(100, (0.0,) * bands, (100.0,) * bands)


@pytest.mark.parametrize(("classes", "expected"), [(12, 73_220), (35, 76_187)])
def test_the_parameters_are_those_of_the_source(classes, expected):
    found = ds_tc_resnet((98, 40), classes, statistics(40)).count_params() - 3  # of the normalization of features
    # By hand: of each block depthwise and pointwise kernels, four numbers a channel, and the same around a residual.
    by_hand = 11 * 40 + 40 * 128 + 4 * 128
    for before, channels, frames, is_residual in (
        (128, 64, 13, True), (64, 64, 15, True), (64, 64, 17, True), (64, 128, 29, False), (128, 128, 1, False),
    ):  # fmt: skip
        by_hand += frames * before + (1 + is_residual) * (before * channels + 4 * channels)
    assert found == by_hand + (128 + 1) * classes == expected
    assert found == pytest.approx(75_000, rel=0.03)  # "75K" in the source, for 12 and for 35 classes


@pytest.mark.parametrize(("shape", "classes"), [((13, 7), 2), ((124, 129), 100)])
def test_features_of_any_size_and_any_number_of_classes_are_taken(shape, classes):
    model = ds_tc_resnet(shape, classes, statistics(shape[1]))
    assert model(np.zeros((2, *shape, 1), np.float32)).shape == (2, classes)


def test_all_frames_count_alike_but_for_the_edges():
    model = ds_tc_resnet((200, 7), 3, statistics(7))
    clip = np.zeros((2, 200, 7, 1), np.float32)
    pulse = np.random.default_rng(0).normal(0, 1e5, (5, 7, 1))
    clip[0, 97:102], clip[1, 105:110] = pulse, pulse
    outputs = model(clip).numpy()
    assert np.abs(outputs[0]).max() > 1e-2
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-4)
