"""The trackers of a training: each is told what there is, and one that fails is left out with a warning."""

import contextlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from features.errors import one_line
from features.io.filesystem import without_slash
from features.runtime.log import LOG
from model.inference.artifact import has_artifact
from model.tracking.client import Client, Here
from model.tracking.registry import KINDS, TENSORBOARD
from model.tracking.session import FOLDER, note_tracker, read_state, tracked_by
from model.tracking.tracker import FAILED, FINISHED, STOPPED, Beginning
from model.training.history import Row, Watch, read_history
from model.training.run_folder import RECIPE, read_config
from model.training.settings import Settings

_LAYERS = "layers.txt"


class Trackers:
    """The trackers that a training is written to; a `Watch` of it."""

    def __init__(self, names: tuple[str, ...] | None, output: str, then: Watch | None) -> None:
        """Takes what `--tracker` names.

        Args:
            names: of trackers; None for those that the run was written to before, TensorBoard for a new one.
            output: the run as the user names it.
            then: what else watches the training, afterwards.
        """
        self._names, self._output, self._then = names, output, then
        self._trackers: dict[str, Client | Here] = {}
        self._has_layers = False

    def begin(self, run: Path) -> None:
        """Tells all what is known of the training, and what they were not told of the epochs before."""
        self._run = run.absolute()
        names = self._names
        if names is None:
            before = tracked_by(run)
            names = (TENSORBOARD,) if before is None else tuple(name for name in before if name in KINDS)
        history: list[Row] = []
        with contextlib.suppress(FileNotFoundError):
            history = read_history(run / "history.csv")
        with contextlib.suppress(OSError):  # each tracker says it
            (run / FOLDER).mkdir(exist_ok=True)
        for name in names:
            if has_artifact(run) and read_state(self._run, name).get("shown") == len(history):
                LOG.info("%s has this training already", KINDS[name].title)
            else:
                self._start(name)
        if self._trackers:
            self._begin(history)
        if self._then:
            self._then.begin(run)

    def epoch(self, row: Row) -> None:
        """Tells all the figures of an epoch."""
        self._tell_epoch(row)
        self._drop_failed()
        if self._then:
            self._then.epoch(row)

    def show(self, features: str, figures: dict[str, Any]) -> list[str]:
        """Shows all how the training came out, and ends them.

        Args:
            features: the feature set.
            figures: of the training.

        Returns:
            The names of those that took the training from its beginning to its end.
        """
        if not self._trackers:
            return []
        from model.tracking.outcome import show_outcome  # which loads what draws and what predicts

        # In the folder of this process, and there until all have taken the files.
        with tempfile.TemporaryDirectory(prefix="soundmill-outcome-") as folder:
            try:
                outcome = show_outcome(self._run, features, figures, Path(folder))
            except Exception as error:  # whatever it is, the training has ended well
                LOG.warning("warning: trackers are not shown how the training came out: %s", one_line(error))
            else:
                self._tell("show", outcome)
            return self.close(FINISHED)

    def close(self, how: str) -> list[str]:
        """Ends all, and returns the names of those that did not fail."""
        for tracker in self._trackers.values():
            tracker.end(how)
        for tracker in self._trackers.values():
            tracker.wait()
        self._drop_failed()
        whole = list(self._trackers)
        self._trackers.clear()
        return whole

    def _start(self, name: str) -> None:
        kind = KINDS[name]
        try:
            note_tracker(self._run, name)
            if kind.package and importlib.util.find_spec(kind.package) is None:
                self._warn(name, f"the package {kind.package} is not installed (pip install 'soundmill[{name}]')")
            else:
                self._trackers[name] = Client(name, self._run / FOLDER / f"{name}.log") if kind.package else Here(name)
        except OSError as error:
            self._warn(name, one_line(error))

    def _begin(self, history: list[Row]) -> None:
        try:
            beginning = self._beginning()
        except Exception as error:  # whatever it is, the training can go on
            for name, tracker in self._trackers.items():
                tracker.end(FAILED)
                tracker.wait()
                self._warn(name, one_line(error))
            self._trackers.clear()
            return
        self._tell("begin", beginning)
        for row in history:
            self._tell_epoch(row)

    def _beginning(self) -> Beginning:
        from model.tracking.outcome import scalars

        config = read_config(self._run) or {}
        settings: Settings = config.pop("settings")
        spec = {"fingerprint": config["fingerprint"], **config.pop("spec")}
        texts = {"spec.json": json.dumps(spec, indent=1, ensure_ascii=False) + "\n"}
        recipe = self._run / RECIPE
        if recipe.exists():  # a run that ended before there were any has none
            texts[RECIPE] = recipe.read_text(encoding="utf-8")
        return Beginning(
            run=self._run,
            folder=self._run / FOLDER,
            name=os.path.basename(without_slash(self._output)) or self._output,
            parameters=scalars({**settings.flat(), **config}),
            texts=texts,
        )

    def _tell_epoch(self, row: Row) -> None:
        layers = self._run / _LAYERS
        if not self._has_layers and layers.exists():
            self._has_layers = True
            self._tell("text", _LAYERS, layers.read_text(encoding="utf-8"))
        self._tell("epoch", int(row["epoch"]), {name: value for name, value in row.items() if name != "epoch"})

    def _tell(self, method: str, *arguments: Any) -> None:
        for tracker in self._trackers.values():
            tracker.tell(method, *arguments)

    def _drop_failed(self) -> None:
        for name, tracker in list(self._trackers.items()):
            if tracker.failure is not None:
                del self._trackers[name]
                tracker.end(FAILED)
                tracker.wait()
                self._warn(name, tracker.failure)

    def _warn(self, name: str, why: str) -> None:
        log = self._run / FOLDER / f"{name}.log"
        more = f" ({log} has more)" if log.exists() and log.stat().st_size else ""
        LOG.warning(
            "warning: %s is left out, which changes nothing of the training: %s%s", KINDS[name].title, why, more
        )


@contextlib.contextmanager
def tracking(names: tuple[str, ...] | None, output: str, then: Watch | None) -> Iterator[Trackers]:
    """Yields the trackers of a training, and ends them with the block, however that ends; see `Trackers`."""
    trackers = Trackers(names, output, then)
    try:
        yield trackers
    except BaseException as error:
        trackers.close(STOPPED if isinstance(error, KeyboardInterrupt) else FAILED)
        raise
    trackers.close(FINISHED)
