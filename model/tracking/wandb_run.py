"""Weights & Biases: an offline run that `wandb sync` sends, `RUN/trackers/wandb`, or what the user's settings say.

Offline it is unless `WANDB_MODE` or a settings file of wandb names a mode; `wandb online` names none. Offline alone is
not silent: wandb's process asks its server when it ends unless `WANDB_ERROR_REPORTING` is false.
"""

import os
import uuid
from pathlib import Path
from typing import Any

from model.tracking.tracker import FINISHED, PROJECT, Beginning, Outcome

_OFFLINE = "offline"
# The model until it is sent, and logs: not in the home folder.
_FOLDERS = ("WANDB_DATA_DIR", "WANDB_CACHE_DIR")


class WandbRun:
    """See `Tracker`."""

    def begin(self, beginning: Beginning, key: str | None) -> str | None:
        """Begins a run, or goes on with it; offline by one more folder, which `wandb sync` joins to the first."""
        folder = beginning.folder / "wandb"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        for name in _FOLDERS:
            os.environ.setdefault(name, str(folder))
        import wandb

        named = wandb.setup().settings
        chosen: dict[str, Any] = {"mode": _OFFLINE} if "mode" not in named.model_fields_set else {}
        new = key is None
        key = key or uuid.uuid4().hex[:8]
        self._run = wandb.init(
            id=key,
            resume=None if new else "allow",
            project=named.project or PROJECT,
            name=named.run_name or beginning.name,
            dir=os.environ.get("WANDB_DIR") or str(beginning.folder),
            config={**beginning.parameters},
            settings=wandb.Settings(
                console="off", silent=True, disable_git=True, disable_code=True, save_code=False,
                x_disable_stats=True, x_disable_meta=True, x_disable_machine_info=True, x_save_requirements=False,
                init_timeout=90.0, **chosen,
            ),
        )  # fmt: skip
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")
        return key

    def epoch(self, number: int, figures: dict[str, float]) -> None:
        """Adds the figures, which are there at once."""
        self._run.log({"epoch": number, **figures}, step=number, commit=True)

    def text(self, name: str, text: str) -> None:
        """Adds a file."""
        path = Path(self._run.dir) / name
        path.write_text(text, encoding="utf-8")
        self._run.save(str(path), base_path=self._run.dir, policy="now")

    def show(self, outcome: Outcome) -> None:
        """Adds figures, pictures, sounds, the matrix as a table, texts and the model."""
        import wandb

        self._run.summary.update(outcome.figures)
        media: dict[str, Any] = {
            one.name: wandb.Image(str(one.path), caption=one.caption) for one in outcome.pictures
        } | {f"{one.name} sound": wandb.Audio(str(one.path), caption=one.caption) for one in outcome.sounds}
        if outcome.confusion:
            classes = outcome.confusion.classes
            rows = [[name, *counts] for name, counts in zip(classes, outcome.confusion.clips, strict=True)]
            media["confusion table"] = wandb.Table(columns=["true \\ predicted", *classes], data=rows)
        self._run.log(media)
        for name, text in outcome.texts.items():
            self.text(name, text)
        artifact = wandb.Artifact(f"model-{self._run.id}", "model")
        artifact.add_dir(str(outcome.model))
        self._run.log_artifact(artifact)

    def end(self, how: str) -> None:
        """Closes the run, and ends wandb's own process."""
        import wandb

        self._run.summary["end"] = how
        self._run.finish(exit_code=0 if how == FINISHED else 1)
        wandb.teardown()
