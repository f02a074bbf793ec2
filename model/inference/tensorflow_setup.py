"""Loads TensorFlow without the messages that it begins with, and OpenVINO without the event that it sends."""

import contextlib
import gc
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from types import ModuleType

from features.runtime.log import is_verbose
from features.runtime.native_messages import quiet_stderr

# What TensorFlow writes about processors and drivers before its own log level counts.
_ROUTINE_MESSAGES = re.compile(r"^([IWE]\d{4} |WARNING: All log messages before absl)")
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
"""The variable in which TensorFlow looks, once, while it is loaded."""
_TELEMETRY = "openvino_telemetry"
# The table of modules belongs to the whole process: one thread at a time changes it.
_modules_lock = threading.RLock()


def load_tensorflow() -> None:
    """Imports TensorFlow and Keras and makes a first computation, which is when accelerators are looked for."""
    if "tensorflow" in sys.modules:
        return
    # What is loaded stays. To garbage-collect its objects, some 400,000, again and again would cost a training
    # more time than its reading of shards.
    gc.disable()
    # TensorFlow 2.21 takes oneDNN's convolutions by itself on processors with AVX-512 VNNI alone; those with AVX2 train
    # faster with them too. A user's own choice stands.
    os.environ.setdefault(ONEDNN, "1")
    with quiet_stderr(_ROUTINE_MESSAGES):
        import keras  # noqa: F401
        import tensorflow as tf

        tf.zeros(())
    gc.freeze()
    gc.enable()


def load_openvino() -> ModuleType:
    """Imports OpenVINO and returns it, without the event that its import sends to an analytics service.

    openvino 2026.4 sends it through the package openvino_telemetry, which writes an id into the home folder, unless a
    file there or the variables of a CI service say otherwise. OpenVINO brings its own stand-in for where that package
    is not installed, and takes it where the import system says that it is not.
    """
    with _modules_lock:
        if "openvino" not in sys.modules:
            loaded = sys.modules.get(_TELEMETRY)
            sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # so Python knows a module that is not there
            try:
                import openvino
            finally:
                # Others who import it in this process may mean to.
                del sys.modules[_TELEMETRY]
                if loaded is not None:
                    sys.modules[_TELEMETRY] = loaded
        import openvino

        module: ModuleType = openvino
    return module


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Holds back TensorFlow's own messages about saving and loading, unless `--verbose` was given."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    if not is_verbose():
        for logger in loggers:
            logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
