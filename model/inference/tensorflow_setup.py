"""Loads TensorFlow without the chatter that it begins with."""

import contextlib
import gc
import os
import re
import sys
import tempfile
from collections.abc import Iterator

from features.runtime.log import LOG

# What TensorFlow says of processors and drivers before its own log level counts.
_CHATTER = re.compile(r"^([IWE]\d{4} |WARNING: All log messages before absl)")


def load_tensorflow() -> None:
    """Imports TensorFlow and Keras and makes a first computation, which is when accelerators are looked for."""
    if "tensorflow" in sys.modules:
        return
    # What is loaded stays. To look for garbage among its objects, some 400,000, again and again would cost a training
    # more time than its reading of shards.
    gc.disable()
    with without_chatter(_CHATTER):
        import keras  # noqa: F401
        import tensorflow as tf

        tf.zeros(())
    gc.freeze()
    gc.enable()


@contextlib.contextmanager
def without_chatter(pattern: re.Pattern[str]) -> Iterator[None]:
    """Holds back what native code writes to standard error, and lets through the lines in which `pattern` is not."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            for line in file.read().decode(errors="replace").splitlines():
                if pattern.search(line):
                    LOG.debug("%s", line)
                else:
                    print(line, file=sys.stderr)
