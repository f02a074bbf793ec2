"""Loads TensorFlow: with a number of threads, and without the chatter that it begins with."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

from features.console import LOG

# What TensorFlow says of processors and drivers before its own log level counts.
_CHATTER = re.compile(r"^([IWE]\d{4} |WARNING: All log messages before absl)")


def load_tensorflow(threads: int | None = None) -> None:
    """Imports TensorFlow and makes its first computation, which is when it looks for accelerators.

    Args:
        threads: that it computes with, None for all cores. One thread makes results independent of the number of
            cores. It counts only in a process that has not computed yet.
    """
    with _without_chatter():
        import tensorflow as tf

        if threads is not None:
            # A process that has computed already keeps its threads: a worker with its second bundle, a test.
            with contextlib.suppress(RuntimeError):
                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(threads)
        tf.zeros(())


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Holds back what native code writes to standard error, and lets through what is not chatter."""
    if "tensorflow" in sys.modules:
        yield
        return
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
                if _CHATTER.match(line):
                    LOG.debug("%s", line)
                else:
                    print(line, file=sys.stderr)
