"""Run folders in object stores: a command works on a folder of this machine, and what it leaves there is sent."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from features.errors import SoundmillError
from features.io.filesystem import is_uri, without_slash
from features.io.mirror import Mirror
from features.runtime.log import LOG

# What only a training that goes on needs.
_OF_TRAINING = ("checkpoints/", "logs/", "trackers/")
MODEL_ALONE = ("model/", "config.json")
"""What of a run a command needs that labels with it."""


@contextlib.contextmanager
def local_run(run: str, only: Sequence[str] = ()) -> Iterator[str]:
    """Yields the folder of a run: of one in a store a copy, from which what the block adds or changes is sent.

    Args:
        run: run folder, or its URI.
        only: how the names of its files begin that are needed; all but checkpoints and what trackers have without it.

    Raises:
        SoundmillError: what the block raises; it names the run as it was given.
    """
    if not is_uri(run):
        yield run
        return
    with working_copy(run) as mirror:
        mirror.fetch(only, but=_OF_TRAINING)
        yield str(mirror.folder)
        mirror.send()


@contextlib.contextmanager
def working_copy(run: str, but: Sequence[str] = ()) -> Iterator[Mirror]:
    """Yields an empty folder that stands for a run in a store; what the block logs and raises names the run.

    Args:
        run: its URI.
        but: see `Mirror`.
    """
    run = without_slash(run)
    with tempfile.TemporaryDirectory(prefix="soundmill-run-") as folder:

        def name_the_run(record: logging.LogRecord) -> bool:
            record.msg, record.args = record.getMessage().replace(folder, run), ()
            return True

        LOG.addFilter(name_the_run)
        try:
            yield Mirror(run, Path(folder), but)
        except SoundmillError as error:
            error.args = tuple(part.replace(folder, run) if isinstance(part, str) else part for part in error.args)
            raise
        finally:
            LOG.removeFilter(name_the_run)
