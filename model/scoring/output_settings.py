"""What the tables of a scoring follow from besides the recordings, and in what two scorings differ."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from features.frontend.spec import FeatureSpec
from features.sources.clips import Source
from features.sources.policies import Policies
from model.labels.output_manifest import Settings
from model.scoring.job import JobSettings

_NAMES = {
    "network": "the model's network",
    "temperature": "the model's temperature",
    "spec": "the model's front end",
    "executor": "--executor",
    "windowing.hop_samples": "--hop-seconds, in samples,",
    "windowing.tail": "--tail",
    "windowing.least_seconds": "--min-window-seconds",
    "embeddings": "--embeddings-dtype",
    "input": "--input",
    "root": "the folder in which paths begin",
    "policies.silent": "--silent",
    "policies.truncated": "--truncated",
    "labels.classes": "the labels that the model has and --only-labels allows",
    "labels.top": "--top",
    "labels.thresholds": "--threshold",
    "labels.probabilities": "--probabilities",
    "events": "--events",
    "events.thresholds": "--threshold of events",
    "events.keep_threshold": "--keep-threshold",
    "events.smooth": "--smooth",
    "events.merge_gap_seconds": "--merge-gap",
    "events.min_duration_seconds": "--min-duration",
    "files_of_recordings": "--labels",
    "columns.keep": "--keep-columns",
    "columns.start_time": "--start-time",
    "columns.time_pattern": "--time-pattern",
    "columns.timezone": "--timezone",
}
"""How a message names a setting: by the option that says it."""
_VERSIONS = "versions."
_SAME_OPTION = {"events.classes": "labels.classes", "events.thresholds": "labels.thresholds"}


def output_settings(
    job: JobSettings, source: Source, spec: FeatureSpec, policies: Policies, outputs: Settings, columns: Settings
) -> Settings:
    """Returns what tables follow from besides the recordings, as JSON has it.

    Args:
        job: what the windows and their probabilities follow from.
        source: of the recordings. Of another folder, table or file they are others, and none of the earlier leaves.
        spec: the front end.
        policies: whether truncated and silent files are used.
        outputs: what is written, and by which rules.
        columns: that outputs have of each recording, and from where.
    """
    one_file = f"{source.root}/{source.clips['path'][0].as_py()}" if source.kind == "file" else None
    settings = {
        **asdict(job),
        "spec": spec.fingerprint,
        "input": source.table or one_file or source.root,
        "root": source.root if source.table else None,
        "policies": dict(policies),
        **outputs,
        "columns": columns,
    }
    as_json: Settings = json.loads(json.dumps(settings, default=str))
    return as_json


def differences(earlier: Settings, now: Settings) -> list[str]:
    """Returns in what settings differ, a phrase each: the option, and what it was and is."""
    if bool(earlier.get("events")) != bool(now.get("events")):  # whose rules say no more
        earlier, now = ({**each, "events": bool(each.get("events"))} for each in (earlier, now))
    before, after = dict(_flat(earlier)), dict(_flat(now))
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return [f"{_option(name)} was {_shown(before.get(name))} and is {_shown(after.get(name))}"
            for name in names if _SAME_OPTION.get(name) not in names]  # fmt: skip


def _option(name: str) -> str:
    if name.startswith(_VERSIONS):
        return f"the version of {name.removeprefix(_VERSIONS)}"
    return _NAMES.get(name, name)


def _flat(values: object, name: str = "") -> list[tuple[str, object]]:
    if isinstance(values, Mapping):
        return [pair for key, value in values.items() for pair in _flat(value, f"{name}.{key}" if name else str(key))]
    if name.endswith("thresholds") and isinstance(values, list) and len(set(values)) == 1:
        return [(name, values[0])]  # one for all classes, however many are allowed
    return [(name, values)]


def _shown(value: object) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:20]}...{text[-37:]}"  # of paths the end tells them apart
