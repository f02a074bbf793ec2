"""Follows a pipeline from outside, by the files that its units leave."""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from features.runtime.progress import Progress

_POLL_SECONDS = 0.5


@contextlib.contextmanager
def follow(progress: Progress, folder: Path, weights: Mapping[str, int]) -> Iterator[None]:
    """Keeps a progress line up to date while the block runs.

    Args:
        progress: the line.
        folder: where each unit leaves a file when it is finished.
        weights: what each unit counts, by the name of its file.
    """
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(_POLL_SECONDS):
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                progress.update(sum(weights.get(entry.name, 0) for entry in entries))

    thread = threading.Thread(target=poll, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        progress.close()
