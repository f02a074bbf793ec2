"""The trackers by name, and how one is made; what they import is loaded then."""

from dataclasses import dataclass

from features.errors import UsageError
from model.tracking.tracker import Tracker

NONE = "none"
TENSORBOARD = "tensorboard"


@dataclass(frozen=True)
class Kind:
    """A kind of tracker.

    Attributes:
        name: of `--tracker`, and of the extra that brings its package.
        package: that it imports; None for one that soundmill always has.
        title: as its makers write it.
    """

    name: str
    package: str | None
    title: str


KINDS = {
    kind.name: kind
    for kind in (
        Kind(TENSORBOARD, None, "TensorBoard"),
        Kind("mlflow", "mlflow", "MLflow"),
        Kind("comet", "comet_ml", "Comet"),
        Kind("wandb", "wandb", "Weights & Biases"),
    )
}


def check_trackers(names: list[str]) -> tuple[str, ...]:
    """Returns trackers without repetitions, nothing for `none`; raises `UsageError` where that is not alone."""
    if NONE in names and set(names) != {NONE}:
        others = ", ".join(name for name in names if name != NONE)
        raise UsageError(f"--tracker {NONE} is for no tracker at all; leave it or {others} out")
    return tuple(name for name in dict.fromkeys(names) if name != NONE)


def make(name: str) -> Tracker:
    """Makes a tracker; raises `ImportError` where its package cannot be loaded."""
    if name == TENSORBOARD:
        from model.tracking.tensorboard_logs import TensorBoardLogs

        return TensorBoardLogs()
    if name == "mlflow":
        from model.tracking.mlflow_store import MlflowStore

        return MlflowStore()
    if name == "comet":
        from model.tracking.comet_archive import CometArchive

        return CometArchive()
    from model.tracking.wandb_run import WandbRun

    return WandbRun()
