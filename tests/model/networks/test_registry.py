from importlib import import_module
from pathlib import Path

import pytest

from features.errors import UsageError
from model.networks.registry import NETWORKS, check_shape, network


def test_networks_are_known_by_their_names_in_order():
    assert [(name, one.name) for name, one in NETWORKS.items()] == [(name, name) for name in sorted(NETWORKS)]


def test_the_benchmark_of_accuracy_knows_how_each_is_trained(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[3] / "benchmarks")
    benchmark = import_module("accuracy")
    assert set(benchmark.PRESETS) == set(benchmark.SETTINGS) == set(benchmark.SMALL_SETTINGS) == set(NETWORKS)


def test_a_name_that_is_not_a_network_is_refused():
    with pytest.raises(UsageError, match=f"'nothing'; there are {', '.join(NETWORKS)}$"):
        network("nothing")


@pytest.mark.parametrize("name", ["tutorial-cnn", "raw-cnn"])
def test_a_mean_over_frames_is_refused_where_frames_are_needed(name):
    with pytest.raises(UsageError, match=r"\(frames, bands\), not \(40,\).*train mlp"):
        check_shape(network(name), (40,))


@pytest.mark.parametrize("shape", [(40,), (1,), (98, 13)])
def test_features_of_any_shape_are_taken_where_frames_are_not_needed(shape):
    check_shape(network("mlp"), shape)


@pytest.mark.parametrize("shape", [(4, 129), (124, 4)])
def test_fewer_values_than_the_convolutions_take_are_refused(shape):
    check_shape(network("raw-cnn"), (5, 5))
    with pytest.raises(UsageError, match="at least 5 frames and bands"):
        check_shape(network("raw-cnn"), shape)
