"""What a tracker is told of a training, and in which order."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PROJECT = "soundmill"
"""What trackers call the project, or the experiment, where the user's own settings do not name one."""

FINISHED, FAILED, STOPPED = "finished", "failed", "stopped"
"""How a training ends: with a model, with an error, or by the user."""

Parameter = str | int | float | bool


@dataclass(frozen=True)
class Beginning:
    """What is known when a training begins.

    Attributes:
        run: the run folder, absolute.
        folder: `trackers` in the run, where trackers keep what is not TensorBoard's.
        name: of the run.
        parameters: settings, feature set, fingerprint of the spec, versions, and when and where it was begun; lists are
            texts.
        texts: content of text files by their names: the spec with its fingerprint, and the recipe.
    """

    run: Path
    folder: Path
    name: str
    parameters: dict[str, Parameter]
    texts: dict[str, str]


@dataclass(frozen=True)
class Media:
    """A picture (PNG) or a sound (WAV) in a file that is there while it is shown.

    Attributes:
        name: of it among those of the training, without an ending.
        caption: what it is, one line.
        path: of the file; its name is `name` with the ending.
    """

    name: str
    caption: str
    path: Path


@dataclass(frozen=True)
class Confusion:
    """The confusion matrix of the clips validated on.

    Attributes:
        classes: of its rows, the true ones, and of its columns, the predicted ones.
        clips: the numbers of clips, (classes, classes).
    """

    classes: list[str]
    clips: list[list[int]]


@dataclass(frozen=True)
class Outcome:
    """What is known when a training has ended with a model.

    Attributes:
        figures: of the run, as its summary has them, and of its validation, numbers and texts.
        texts: content of text files by their names.
        pictures: the curves, the confusion matrix and the examples, mistakes first.
        sounds: of the examples whose recordings are there.
        confusion: of validation; None where there was none.
        model: the folder of the artifact.
    """

    figures: dict[str, Parameter]
    texts: dict[str, str]
    pictures: list[Media]
    sounds: list[Media]
    confusion: Confusion | None
    model: Path


class Tracker(Protocol):
    """Where a training is written to; each method may raise anything, after which no other is called."""

    def begin(self, beginning: Beginning, key: str | None) -> str | None:
        """Begins, or goes on with what an earlier process began.

        Args:
            beginning: what is known.
            key: what the earlier process returned here; None for a new one.

        Returns:
            What a later process goes on by; None where it needs nothing.
        """

    def epoch(self, number: int, figures: dict[str, float]) -> None:
        """Takes the figures of an epoch that has ended, counted from 1; those of validation begin with `val_`."""

    def text(self, name: str, text: str) -> None:
        """Takes a text file."""

    def show(self, outcome: Outcome) -> None:
        """Takes what there is when the training has ended."""

    def end(self, how: str) -> None:
        """Writes or sends what is left, and closes: FINISHED, FAILED or STOPPED."""
