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
    with pytest.raises(UsageError, match=f"'nothing'; there are {', '.join(NETWORKS)}, and your own as "):
        network("nothing")


def test_a_network_of_the_users_own_is_known_by_its_name_alone():
    for name in ("networks:build", "my.very_own.networks:build_2"):
        chosen = network(name)
        assert chosen.is_own
        assert (chosen.name, chosen.loss, chosen.needs_frames) == (name, "categorical", False)
        check_shape(chosen, (40,))
    assert not any(one.is_own for one in NETWORKS.values())


@pytest.mark.parametrize("name", [":", "a:", ":b", "a:b:c", "a/b.py:c", "a..b:c", "a.:b", "1:b", "a:b.c", "a:b()"])
def test_what_is_not_a_module_and_a_function_is_refused(name):
    with pytest.raises(UsageError, match=r"package\.module:function, not"):
        network(name)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("linear", "mlp")])
def test_a_mean_over_frames_is_refused_where_frames_are_needed(name):
    with pytest.raises(UsageError, match=r"\(frames, bands\), not \(40,\).*train linear, mlp"):
        check_shape(network(name), (40,))


@pytest.mark.parametrize("shape", [(40,), (1,), (98, 13)])
def test_features_of_any_shape_are_taken_where_frames_are_not_needed(shape):
    check_shape(network("mlp"), shape)


@pytest.mark.parametrize("shape", [(4, 129), (124, 4)])
def test_fewer_values_than_the_convolutions_take_are_refused(shape):
    check_shape(network("raw-cnn"), (5, 5))
    with pytest.raises(UsageError, match="at least 5 frames and bands"):
        check_shape(network("raw-cnn"), shape)
