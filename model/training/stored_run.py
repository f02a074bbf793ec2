"""A training whose run folder is in an object store: it works on this machine, and what an epoch leaves is sent."""

import contextlib
from collections.abc import Iterator

from features.errors import SoundmillError
from features.io.filesystem import Uri, is_uri
from features.io.mirror import Mirror
from features.runtime.log import LOG
from features.store.layout import WORK
from features.store.lease import Lease
from features.store.locks import CLAIM, claim
from model.inference.run_store import working_copy
from model.training.history import EachEpoch, Row, Watch

# Without them it is seen whether a run is there, and whether it has ended.
_OF_RESUMING = ("checkpoints/", "logs/", "trackers/", "evaluation/")


@contextlib.contextmanager
def run_to_train(output: str, resume: bool) -> Iterator[tuple[str, Watch | None]]:
    """Yields the folder to train in, and what has to watch the training, None for nothing.

    Args:
        output: run folder, which is yielded itself, or its URI: that is claimed for this process alone, its files are
            fetched, and what the training leaves is sent with each epoch and at the end, however it ends.
        resume: whether the training continues, which takes its checkpoints.

    Raises:
        UsageError: another training is writing the run.
        RunError: another has taken it over, as this one could not reach the store for long.
        SoundmillError: what the block raises; it names the run as it was given.
    """
    if not is_uri(output):
        yield output, None
        return
    with (
        working_copy(output, but=(f"{WORK}/", CLAIM)) as mirror,
        claim(Uri(mirror.uri), "training", mirror.uri) as lease,
    ):
        mirror.fetch(but=() if resume else _OF_RESUMING)

        def send(_: Row) -> None:
            lease.check()
            mirror.send()

        try:
            yield str(mirror.folder), EachEpoch(send)
        except BaseException:
            _send_rest(mirror, lease)
            raise
        send({})


def _send_rest(mirror: Mirror, lease: Lease) -> None:
    """Sends what a training leaves that did not end well; what hinders that is not what it is remembered for."""
    try:
        lease.check()
        mirror.send()
    except (SoundmillError, OSError) as error:
        LOG.warning("warning: not all of the run could be sent to %s: %s", mirror.uri, error)
