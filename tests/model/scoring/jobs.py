"""A scoring job that was planned, and has no part yet."""

from dataclasses import dataclass
from pathlib import Path

from features.frontend.presets import preset
from features.sources.clips import Source
from features.sources.folder import scan
from model.scoring.job import JobSettings, Parts, open_parts
from model.scoring.label_forms import FORMS, LabelsForm
from model.scoring.plan import Batch, plan_batches


@dataclass(frozen=True)
class PlannedJob:
    source: Source
    batches: list[Batch]
    parts: Parts


SETTINGS = JobSettings(
    network="0a" * 32, temperature=1.0, top=1, thresholds=(0.0, 0.0, 0.0), executor="litert 2", least_seconds=0.05
)


def plan_job(
    folder: Path, recordings: Path, settings: JobSettings = SETTINGS, form: LabelsForm = FORMS[0]
) -> PlannedJob:
    """Plans the recordings of a folder and opens the job below `folder`."""
    folder.mkdir(exist_ok=True)
    source = scan(str(recordings), labelled=False)
    batches, _, _ = plan_batches(source.root, source.clips["path"].to_pylist(), preset("speech-commands"), 0.05)
    return PlannedJob(source, batches, open_parts(folder, form, source, batches, settings))
