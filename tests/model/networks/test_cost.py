import keras
import pytest
from keras import layers

from features.store.statistics import Statistics
from model.networks.builder import build, layer_table
from model.networks.cost import multiply_adds
from model.networks.registry import network

SHAPE = (10, 8, 3)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv2D(5, 3), 8 * 6 * 5 * (3 * 3 * 3)),
        (layers.Conv2D(5, (3, 1), strides=(2, 1), padding="same", use_bias=False), 5 * 8 * 5 * (3 * 1 * 3)),
        (layers.Conv2D(6, 3, groups=3, padding="same"), 10 * 8 * 6 * (3 * 3 * 1)),
        (layers.Conv2D(5, 3, dilation_rate=2), 6 * 4 * 5 * (3 * 3 * 3)),
        (layers.Conv2DTranspose(5, 3, strides=2), 10 * 8 * 3 * (3 * 3 * 5)),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), 8 * 6 * 3 * 2 * (3 * 3)),
        (layers.SeparableConv2D(5, 3), 8 * 6 * (3 * (3 * 3) + 3 * 5)),
        (layers.Dense(4), 10 * 8 * 3 * 4),
        (layers.BatchNormalization(), 0),
        (layers.AveragePooling2D(2), 0),
    ],
)
def test_a_layer_costs_what_a_count_by_hand_gives(layer, expected):
    assert multiply_adds(keras.Sequential([layers.Input(SHAPE), layer])) == expected


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv1D(5, 3), 8 * 5 * (3 * 4)),
        (layers.Conv1DTranspose(5, 3, strides=2), 10 * 4 * (3 * 5)),
        (layers.DepthwiseConv1D(3, padding="same"), 10 * 4 * 3),
        (layers.SeparableConv1D(5, 3, strides=2), 4 * (4 * 3 + 4 * 5)),
    ],
)
def test_a_layer_over_time_costs_what_a_count_by_hand_gives(layer, expected):
    assert multiply_adds(keras.Sequential([layers.Input((10, 4)), layer])) == expected


def test_a_layer_counts_wherever_it_is_called_and_in_models_inside():
    features = layers.Input(SHAPE)
    twice = layers.Conv2D(3, 3, padding="same")
    inner = keras.Sequential([layers.Input(SHAPE), layers.Dense(3)])
    model = keras.Model(features, inner(inner(twice(twice(features)))))
    assert multiply_adds(model) == 2 * 10 * 8 * 3 * (3 * 3 * 3) + 2 * 10 * 8 * 3 * 3


def test_the_table_of_layers_ends_with_parameters_and_multiply_adds():
    model = build(network("raw-cnn"), (12, 10), 3, Statistics(10, (0.0,) * 10, (10.0,) * 10))
    cost = 10 * 8 * 16 * 9 + 8 * 6 * 16 * 9 * 16 + 768 * 128 + 128 * 3
    assert layer_table(model).splitlines()[-1] == f"{model.count_params():,} parameters, {cost:,} multiply-adds a clip"
