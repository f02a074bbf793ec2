"""The bar of progress on a terminal, drawn by rich. Importing this loads rich."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn


class Bar:
    """A line with a bar at the end of the terminal's text; what is written to standard error goes above it."""

    def __init__(self, name: str, total: float) -> None:
        """Draws nothing yet.

        Args:
            name: stands before the bar.
            total: how much fills it.
        """
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}", markup=False),
            console=_Console(stderr=True, soft_wrap=True),
            # A thread that draws would be lost in a fork, and most work says more often how far it has come.
            auto_refresh=False,
            # Results on standard output may go to a file.
            redirect_stdout=False,
            transient=True,
        )
        self._task = self._progress.add_task(name, total=total, text="")

    def draw(self, done: float, text: str) -> None:
        """Draws the bar anew.

        Args:
            done: how much is finished.
            text: stands behind the bar.

        Raises:
            OSError: the terminal is closed.
        """
        self._progress.update(self._task, completed=done, text=text)
        self._progress.start()
        self._progress.refresh()

    def clear(self) -> None:
        """Removes the line; raises `OSError` where the terminal is closed."""
        self._progress.stop()


class _Console(Console):
    """Standard error, whose cursor stays visible: a process that is killed could not show it again."""

    def show_cursor(self, show: bool = True) -> bool:
        return False
