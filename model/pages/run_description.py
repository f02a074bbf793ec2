"""How the networks of a model page came to be: their histories, their settings, and what they were made with."""

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from features.errors import UsageError
from features.frontend.presets import preset_name
from model.evaluation.trained_set import manifest_digest
from model.inference.linear_network import LINEAR
from model.pages.tested_clips import TestedClips
from model.training.history import Row, best_epoch, read_history
from model.training.run_folder import read_config
from model.training.settings import Settings

_HISTORY = "history.csv"


def run_record(run: str) -> dict[str, Any]:
    """Returns what a run's record says of its training, empty where there is none."""
    with contextlib.suppress(UsageError):  # a run folder takes no more than its model to be used
        return read_config(Path(run)) or {}
    return {}


def curves(clips: TestedClips) -> list[dict[str, Any]]:
    """Returns the history of each network that has one: its columns by name, and the epoch whose weights it has.

    Of a linear network a row has an `l2` penalty, which takes the place of the epoch.
    """
    found = []
    for part in clips.parts:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            rows = read_history(Path(part.run) / _HISTORY)
            if rows:
                settings = run_record(part.run).get("settings")
                found.append({
                    "name": part.name,
                    "columns": {name: [_finite(row.get(name)) for row in rows] for name in rows[0]},
                    "best": _best(rows, settings),
                    "place": "l2" if "l2" in rows[0] else "epoch",
                })  # fmt: skip
    return found


def provenance(clips: TestedClips, run: str) -> dict[str, Any]:
    """Returns what says of a model where it comes from; None stands for what is not known.

    Args:
        clips: that it was tested on.
        run: the run, or the folder of a cross-validation, as it was given.
    """
    first = clips.parts[0]
    description, record, manifest = first.tested.description, run_record(first.run), clips.manifest
    settings: Settings | None = record.get("settings")
    records = [run_record(one) for one in clips.runs]
    return {
        "run": run,
        "network": description.network_name,
        "is_linear": description.network_name == LINEAR,
        "network_sha256": description.network_sha256,
        "trained_on": list(description.trained_on),
        "settings": _flat(asdict(settings)) if settings else None,
        "seed": settings.seed if settings else None,
        "begun": [one["begun"] for one in records if "begun" in one],
        "training_seconds": _training_seconds(clips.runs),
        **{name: record.get(name) for name in ("machine", "cores", "commit")},
        "versions": record.get("versions"),
        "trained_features": record.get("features"),
        "trained_state": record.get("features_state"),
        "initial": (record.get("init") or {}).get("folder"),
        "noise": (record.get("noise") or {}).get("folder"),
        "features": clips.features,
        "state": manifest.state,
        "manifest_sha256": manifest_digest(manifest),
        "features_versions": manifest.versions,
        "preset": preset_name(manifest.spec),
        "spec": manifest.spec.to_dict(),
        "fingerprint": manifest.spec.fingerprint,
        "front_end_network": manifest.network,
    }


def _training_seconds(runs: list[str]) -> float | None:
    total = None
    for run in runs:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            total = (total or 0.0) + sum(row["seconds"] for row in read_history(Path(run) / _HISTORY))
    return total


def _best(rows: list[Row], settings: Settings | None) -> int | None:
    """Returns the place of the row whose weights the network has."""
    epoch = best_epoch(rows, settings.schedule.best_by) if settings else None
    return None if epoch is None else [int(row["epoch"]) for row in rows].index(epoch)


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of all sections by their names, which no two sections share."""
    result: dict[str, Any] = {}
    for name, value in settings.items():
        result |= value if isinstance(value, dict) else {name: value}
    return result
