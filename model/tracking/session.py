"""A tracker's part in a run folder: what it was told already, so that a resumed training tells it what is new."""

import json
from pathlib import Path
from typing import Any

from features.io.atomic import write_file
from model.tracking.tracker import Beginning, Outcome, Tracker

FOLDER = "trackers"


def read_state(run: Path, name: str) -> dict[str, Any]:
    """Returns what a tracker has of a run: `key`, `epochs` and, of how many of them it was `shown` the outcome.

    It is empty where the tracker has nothing, or what it wrote down cannot be read.
    """
    try:
        state: dict[str, Any] = json.loads((run / FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        return {"key": state["key"], "epochs": int(state["epochs"]), "shown": int(state["shown"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def note_tracker(run: Path, name: str) -> None:
    """Notes that a run is written to a tracker, which `tracked_by` then knows, be it that the tracker fails."""
    with open(run / FOLDER / f"{name}.json", "a", encoding="utf-8"):
        pass


def tracked_by(run: Path) -> list[str] | None:
    """Returns the names of the trackers that a run was begun in; None where it is not known."""
    folder = run / FOLDER
    return sorted(path.stem for path in folder.glob("*.json")) if folder.exists() else None


class Session:
    """A tracker, and the file that says what it has of a run."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        """Takes a tracker and its name."""
        self._name, self._tracker = name, tracker
        self._state: dict[str, Any] = {}

    def begin(self, beginning: Beginning) -> None:
        """Begins, or goes on."""
        self._run = beginning.run
        state = read_state(self._run, self._name)
        key = self._tracker.begin(beginning, state.get("key"))
        self._keep({"epochs": 0, "shown": 0, **state, "key": key})
        for name, text in beginning.texts.items():
            self._tracker.text(name, text)

    def epoch(self, number: int, figures: dict[str, float]) -> None:
        """Takes the figures of an epoch; those that the tracker has are the same to the bit."""
        if number > self._state["epochs"]:
            self._tracker.epoch(number, figures)
            self._keep({"epochs": number})

    def text(self, name: str, text: str) -> None:
        """Takes a text file."""
        self._tracker.text(name, text)

    def show(self, outcome: Outcome) -> None:
        """Takes the outcome of the epochs so far."""
        self._tracker.show(outcome)
        self._keep({"shown": self._state["epochs"]})

    def end(self, how: str) -> None:
        """Closes the tracker."""
        self._tracker.end(how)

    def _keep(self, changes: dict[str, Any]) -> None:
        self._state |= changes
        write_file(self._run / FOLDER / f"{self._name}.json", json.dumps(self._state) + "\n", durable=False)
