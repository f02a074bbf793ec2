import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from features.errors import UsageError
from features.store.statistics import Statistics
from model.inference.artifact import load_artifact, read_description
from model.networks.builder import as_built, build
from model.networks.registry import network
from model.training.trainer import train

SHAPE = (12, 10)
STATISTICS = Statistics(100, (100.0,) * 10, (500.0,) * 10)

MODULE = """
import keras
from keras import layers


def features(shape):
    return layers.Input((*shape, 1))


def logits(shape, num_classes, statistics):
    mean, variance = statistics.scalar()
    x = layers.Normalization(axis=None, mean=mean, variance=variance)(inputs := features(shape))
    return keras.Model(inputs, layers.Dense(num_classes)(layers.Dropout(0.1)(layers.Flatten()(x))))


def probabilities(shape, num_classes, statistics):
    return keras.Sequential([features(shape), layers.Flatten(), layers.Dense(num_classes, activation="softmax")])


def softmax(shape, num_classes, statistics):
    inner = keras.Sequential([features(shape), layers.Flatten(), layers.Dense(num_classes), layers.Softmax()])
    return keras.Sequential([features(shape), inner])


def recurrent(shape, num_classes, statistics):
    x = layers.GRU(4)(layers.Reshape(shape)(inputs := features(shape)))
    return keras.Model(inputs, layers.Dense(num_classes)(keras.ops.tanh(x)))


@keras.saving.register_keras_serializable()
class Scale(layers.Layer):
    def call(self, x):
        return 2 * x


class Untold(layers.Layer):
    def __init__(self, what, **more):
        super().__init__(**more)

    def call(self, x):
        return x


class Own(keras.Model):
    pass


class Subclassed(keras.Model):
    def call(self, x):
        return x


def double(x):
    return 2 * x


def ending(shape, *end):
    return keras.Sequential([features(shape), layers.Flatten(), *end])


def failing(shape, num_classes, statistics):
    return statistics.nothing


def nothing(shape, num_classes, statistics):
    return None


def without_input(shape, num_classes, statistics):
    return keras.Sequential([layers.Flatten(), layers.Dense(num_classes)])


def subclassed(shape, num_classes, statistics):
    return Subclassed()


def other_input(shape, num_classes, statistics):
    return keras.Sequential([layers.Input(shape), layers.Flatten(), layers.Dense(num_classes)])


def other_output(shape, num_classes, statistics):
    return ending(shape, layers.Dense(num_classes + 1))


def sigmoid(shape, num_classes, statistics):
    return ending(shape, layers.Dense(num_classes, activation="sigmoid", name="last"))


def without_activation(shape, num_classes, statistics):
    return ending(shape, layers.Dense(num_classes), layers.Dropout(0.1, name="last"))


def custom(shape, num_classes, statistics):
    return ending(shape, Scale(name="doubled"), layers.Dense(num_classes))


def custom_inside(shape, num_classes, statistics):
    return ending(shape, keras.Sequential([layers.Input((120,)), Scale(name="doubled")]), layers.Dense(num_classes))


def untold(shape, num_classes, statistics):
    return ending(shape, Untold(object(), name="odd"), layers.Dense(num_classes))


def lambda_layer(shape, num_classes, statistics):
    return ending(shape, layers.Lambda(lambda x: 2 * x, name="doubled"), layers.Dense(num_classes))


def own_function(shape, num_classes, statistics):
    return ending(shape, layers.Dense(4, activation=double, name="doubled"), layers.Dense(num_classes))


def own_class(shape, num_classes, statistics):
    return Own(inputs := features(shape), layers.Dense(num_classes)(layers.Flatten()(inputs)))


def fourier(shape, num_classes, statistics):
    x = layers.Reshape(shape)(inputs := features(shape))
    x = layers.Flatten()(keras.ops.fft((x, x))[0])
    return keras.Model(inputs, layers.Dense(num_classes)(x))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, which Python does not search, as under the console script, with a module of networks."""
    (tmp_path / "my_networks.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    yield tmp_path
    for name in ("my_networks", "broken", "needing"):
        sys.modules.pop(name, None)


def build_own(function: str, module: str = "my_networks") -> keras.Model:
    return build(network(f"{module}:{function}"), SHAPE, 3, STATISTICS)


@pytest.mark.parametrize(
    ("function", "returns_logits"),
    [("logits", True), ("probabilities", False), ("softmax", False), ("recurrent", True)],
)
def test_the_network_is_what_the_function_returns(function, returns_logits, folder):
    model = build_own(function)
    assert as_built(network(f"my_networks:{function}"), model).returns_logits == returns_logits
    outputs = model(np.ones((2, *SHAPE, 1), np.float32)).numpy()
    assert np.allclose(outputs.sum(axis=1), 1, atol=1e-5) != returns_logits
    assert str(folder) not in sys.path


def test_the_function_is_given_the_statistics():
    layer = build_own("logits").layers[1]
    np.testing.assert_allclose(layer(np.array([[[[1.0], [3.0]]]], np.float32)).numpy().ravel(), [0, 1], atol=1e-6)


def test_a_network_built_twice_is_the_same():
    keras.utils.set_random_seed(0)
    first = build_own("logits").get_weights()
    keras.utils.set_random_seed(0)
    for mine, theirs in zip(build_own("logits").get_weights(), first, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("absent", r"module my_networks \(.*my_networks.py\) has no function 'absent'"),
        ("failing", r"raised AttributeError: .*'nothing' at .*my_networks.py, line \d+; it is called with"),
        ("nothing", "returned NoneType, not a keras.Model"),
        ("without_input", r"without fixed sizes; begin .* with keras.layers.Input\(\(12, 10, 1\)\)"),
        ("subclassed", "without fixed sizes"),
        ("other_input", r"takes \(clips, 12, 10\), not .* which is \(clips, 12, 10, 1\)"),
        ("other_output", r"returns \(clips, 4\), not .* which is \(clips, 3\)"),
        ("sigmoid", r"ends with 'last' \(Dense\), which has the activation sigmoid: .* end with keras.layers.Dense"),
        ("without_activation", r"ends with 'last' \(Dropout\), which has no activation"),
        ("custom", "layer 'doubled' holds the class my_networks.Scale; a run is loaded from the saved network alone"),
        ("custom_inside", "layer 'doubled' holds the class my_networks.Scale"),
        ("untold", "layer 'odd', a Untold: NotImplementedError"),
        ("lambda_layer", "layer 'doubled' is a Lambda, which holds code"),
        ("own_function", "layer 'doubled' holds the function double"),
        ("own_class", "it is of the class my_networks.Own"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(function, message):
    with pytest.raises(UsageError, match=f"^--network my_networks:{function}:? .*{message}"):
        build_own(function)


def test_a_module_that_is_not_there_is_refused_with_the_folder_that_was_searched(folder):
    with pytest.raises(UsageError, match=f"no module 'no_such' among .* in the current folder {folder}"):
        build_own("build", "no_such.networks")


@pytest.mark.parametrize(("content", "message"), [("1 / 0", "ZeroDivisionError"), ("import no_such", "'no_such'")])
def test_a_module_that_cannot_be_imported_is_refused_with_the_reason(folder, content, message):
    (folder / "broken.py").write_text(content)
    with pytest.raises(UsageError, match=f"broken cannot be imported: .*{message}"):
        build_own("build", "broken")


def test_a_file_of_the_current_folder_does_not_stand_in_for_a_package(folder, monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    (folder / "colorsys.py").write_text("raise RuntimeError")
    (folder / "needing.py").write_text("import colorsys\nfrom my_networks import logits as build\n")
    assert build_own("build", "needing").output_shape == (None, 3)


def test_a_run_is_used_without_the_module_that_built_its_network(feature_set, folder):
    settings = {"network": "my_networks:logits", "epochs": 1, "batch_size": 16}
    train(str(feature_set), str(folder / "run"), settings)
    assert read_description(folder / "run").returns_logits
    sys.modules.pop("my_networks")
    (folder / "my_networks.py").unlink()
    artifact = load_artifact(folder / "run")
    probabilities = artifact.probabilities(np.ones((2, *artifact.spec.shape), np.float32))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_a_network_that_scoring_cannot_run_is_refused_before_training(feature_set, folder):
    settings = {"network": "my_networks:fourier", "epochs": 1, "batch_size": 16}
    with pytest.raises(UsageError, match=r"cannot be converted to LiteRT.* no operation tf\.Complex"):
        train(str(feature_set), str(folder / "run"), settings)
    assert not (folder / "run" / "history.csv").exists()
