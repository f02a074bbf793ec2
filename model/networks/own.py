"""Networks of users' own: `package.module:build` names a function that makes a Keras model.

A run is loaded later from the network that it saved, without the user's code, in Keras' safe mode, which executes
nothing in the file. What could not be loaded so is refused before training.
"""

import contextlib
import importlib
import os
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import keras

from features.errors import UsageError
from features.store.statistics import Statistics
from model.networks.registry import Shape

Build = Callable[[Shape, int, Statistics], Any]


def build_own(name: str, shape: Shape, num_classes: int, statistics: Statistics) -> keras.Model:
    """Calls a user's function and returns its network.

    The module is looked for among the installed packages and in the current folder. The console script does not search
    that folder otherwise; here it comes last, so that no file of the user's stands in for a module of a package.

    Args:
        name: of module and function, as in `package.module:build`.
        shape: of a clip's features.
        num_classes: number of outputs.
        statistics: of the training features.

    Returns:
        A model that takes (clips, *shape, 1) and returns (clips, classes).

    Raises:
        UsageError: there is no such function, it raises, or what it returns cannot be trained, saved and loaded.
    """
    with _search_current_folder():
        module = _import(name)
        build = _function(name, module)
        try:
            model = build(shape, num_classes, statistics)
        except Exception as error:
            _refuse(name, f"raised {_shown(error)}{_place(error, module)}; it is called with the shape {shape}, "
                    f"{num_classes} classes, and the Statistics of the training features", error)  # fmt: skip
    _check_sizes(name, model, shape, num_classes)
    returns_logits(name, model)
    _check_saved(name, model)
    return model


def returns_logits(name: str, model: keras.Model) -> bool:
    """Returns whether a network gives logits, by the activation of its last layer: linear, and not softmax.

    Raises:
        UsageError: it has another last layer.
    """
    last = getattr(model, "operations", model.layers)[-1]
    if isinstance(last, keras.Model):
        return returns_logits(name, last)
    activation = (
        keras.activations.softmax if isinstance(last, keras.layers.Softmax) else getattr(last, "activation", None)
    )
    if activation not in (keras.activations.softmax, keras.activations.linear):
        found = f"the activation {getattr(activation, '__name__', activation)}" if activation else "no activation"
        _refuse(name, f"ends with {last.name!r} ({type(last).__name__}), which has {found}: a last layer gives "
                "probabilities by the activation softmax, or logits by linear; end with "
                "keras.layers.Dense(num_classes)")  # fmt: skip
    return bool(activation == keras.activations.linear)


@contextlib.contextmanager
def _search_current_folder() -> Iterator[None]:
    folder = os.getcwd()
    if folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(folder)


def _import(name: str) -> ModuleType:
    module = name.partition(":")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise UsageError(
                f"--network {name}: there is no module {error.name!r} among the installed packages, nor in the current "
                f"folder {os.getcwd()}; run soundmill from the folder that holds it, or install it"
            ) from error
        raise UsageError(f"--network {name}: {module} cannot be imported: {_shown(error)}") from error
    except Exception as error:  # a module may do anything as it is imported
        raise UsageError(f"--network {name}: {module} cannot be imported: {_shown(error)}") from error


def _function(name: str, module: ModuleType) -> Build:
    function = getattr(module, name.partition(":")[2], None)
    if not callable(function):
        where = getattr(module, "__file__", None) or "a folder without __init__.py"
        raise UsageError(
            f"--network {name}: the module {module.__name__} ({where}) has no function {name.partition(':')[2]!r}"
        )
    build: Build = function
    return build


def _check_sizes(name: str, model: Any, shape: Shape, num_classes: int) -> None:
    if not isinstance(model, keras.Model):
        _refuse(name, f"returned {type(model).__name__}, not a keras.Model")
    try:
        taken, given = ([tuple(tensor.shape) for tensor in tensors] for tensors in (model.inputs, model.outputs))
    except (AttributeError, TypeError, ValueError) as error:
        _refuse(name, f"returned a model without fixed sizes; begin a keras.Sequential or a functional model with "
                f"keras.layers.Input({(*shape, 1)})", error)  # fmt: skip
    if taken != [(None, *shape, 1)]:
        _refuse(name, f"takes {_sizes(taken)}, not (clips, *shape, 1), which is {_sizes([(None, *shape, 1)])}")
    if given != [(None, num_classes)]:
        _refuse(name, f"returns {_sizes(given)}, not (clips, classes), which is {_sizes([(None, num_classes)])}")


def _check_saved(name: str, model: keras.Model) -> None:
    """Refuses what could not be loaded from the saved network alone, and names the layer where it can be known."""
    if type(model).__module__.split(".")[0] != "keras":
        _refuse_code(name, f"it is of the class {type(model).__module__}.{type(model).__name__}")
    for layer in getattr(model, "operations", model.layers):
        try:
            own = _own_code(keras.saving.serialize_keras_object(layer), layer.name)
        except Exception as error:  # of a layer that does not say what it is made of
            _refuse_code(name, f"layer {layer.name!r}, a {type(layer).__name__}: {_shown(error)}", error)
        if own:
            _refuse_code(name, own)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.keras")
        try:
            model.save(path)
            keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:
            _refuse_code(name, _shown(error), error)


def _own_code(config: Any, layer: str) -> str | None:
    """Returns what of a serialized layer is neither Keras' nor plain data, None for nothing.

    Such a class could be loaded here and now, where its module is, and not where the run is used.
    """
    if isinstance(config, list | tuple):
        return next(filter(None, (_own_code(item, layer) for item in config)), None)
    if not isinstance(config, dict):
        return None
    kind, module, inner = config.get("class_name"), config.get("module"), config.get("config")
    if kind is not None and isinstance(inner, dict) and isinstance(inner.get("name"), str):
        layer = inner["name"]
    if kind == "Lambda":
        return f"layer {layer!r} is a Lambda, which holds code"
    if kind in ("function", "__lambda__"):
        return f"layer {layer!r} holds the function {inner if isinstance(inner, str) else 'lambda'}"
    if isinstance(module, str) and module.split(".")[0] not in ("keras", "builtins"):
        return f"layer {layer!r} holds the class {module}.{kind}"
    return next(filter(None, (_own_code(item, layer) for item in config.values())), None)


def _refuse_code(name: str, reason: str, cause: Exception | None = None) -> NoReturn:
    _refuse(name, f"returned a network that cannot be loaded without its code: {reason}; a run is loaded from the "
            "saved network alone, which may hold Keras' own layers and functions only (keras.layers, keras.ops)",
            cause)  # fmt: skip


def _refuse(name: str, reason: str, cause: Exception | None = None) -> NoReturn:
    raise UsageError(f"--network {name} {reason}") from cause


def _shown(error: Exception) -> str:
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" …")  # Keras adds whole networks


def _place(error: Exception, module: ModuleType) -> str:
    """Returns where in the user's module an exception came from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == module.__file__]
    return f" at {module.__file__}, line {lines[-1]}" if lines else ""


def _sizes(shapes: list[tuple[int | None, ...]]) -> str:
    return " and ".join(str(shape).replace("None", "clips") for shape in shapes) or "nothing"
