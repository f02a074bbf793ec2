"""Files that are written on this machine and sent elsewhere when they are whole."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from features.io.atomic import AtomicFile
from features.io.entry import AnyPath
from features.io.temporary import temporary_folder


class Upload(AtomicFile):
    """A file in the temporary folder that is sent when its block ends well, and is gone after it in any case."""

    def __init__(self, send: Callable[[AnyPath, Path], None], place: AnyPath) -> None:
        """Opens the file.

        Args:
            send: takes the whole file to its place.
            place: where that is.
        """
        self._send, self._place = send, place
        self._folder = tempfile.mkdtemp(dir=temporary_folder())
        super().__init__(os.path.join(self._folder, "object"), durable=False)

    def rename(self, path: AnyPath) -> None:
        """See `AtomicFile`."""
        self._place = path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Sends the file, or removes it where the block raised."""
        try:
            super().__exit__(kind, error, trace)
            if kind is None and self._wanted:
                self._send(self._place, Path(self.path))
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
