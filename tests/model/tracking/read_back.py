"""Reads what a training left with each tracker, by what the tracker itself reads it with."""

import argparse
import csv
import json
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Stored:
    """What a tracker has of a training: curves by the history's names, files by their names, endings left out."""

    parameters: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    sounds: dict[str, bytes] = field(default_factory=dict)
    captions: dict[str, str] = field(default_factory=dict)
    model: dict[str, bytes] = field(default_factory=dict)
    end: str = ""


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_tensorboard(run: Path) -> Stored:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.audio import metadata as audio
    from tensorboard.plugins.hparams import metadata as hparams
    from tensorboard.plugins.image import metadata as image
    from tensorboard.util.tensor_util import make_ndarray

    found = Stored(model=files_of(run / "logs" / "model"))
    for folder, prefix in (("train", ""), ("validation", "val_")):
        if not (run / "logs" / folder).exists():  # without validation
            continue
        events = read_events(run, folder)
        for tag in events.Tags()["tensors"]:
            points = [(event.step, float(make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]
            found.curves[prefix + tag.removeprefix("epoch_")] = points
    events: EventAccumulator = read_events(run, "run")
    for tag, plugin in [(tag, one) for one in ("images", "audio", "text", "scalars") for tag in tags(events, one)]:
        last = make_ndarray(events.Tensors(tag)[-1].tensor_proto)
        described = events.SummaryMetadata(tag)
        if plugin == "images":
            assert image.parse_plugin_metadata(described.plugin_data.content).version == 0
            found.pictures[tag.removeprefix("pictures/")] = last[2]
            found.captions[tag.removeprefix("pictures/")] = described.summary_description
        elif plugin == "audio":
            encoding = audio.parse_plugin_metadata(described.plugin_data.content).encoding
            assert encoding == audio.Encoding.Value("WAV")
            name = tag.removeprefix("sounds/")
            found.sounds[name] = last.ravel()[0]  # behind it, which TensorBoard leaves out now, the caption
            assert described.summary_description == found.captions[name]
        elif plugin == "text":
            found.texts[tag] = "".join(f"{line[4:]}\n" for line in str(last.item(), "utf-8").splitlines())
        else:
            found.figures[tag] = float(last)
    start = hparams.parse_session_start_info_plugin_data(
        events.SummaryMetadata(hparams.SESSION_START_INFO_TAG).plugin_data.content
    )
    for name, value in start.hparams.items():
        found.parameters[name] = getattr(value, value.WhichOneof("kind"))
    found.end = found.texts.pop("end.txt").strip()
    return found


def read_events(run: Path, folder: str) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "logs" / folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def tags(events: Any, plugin: str) -> list[str]:
    names = events.Tags()["tensors"]
    return [name for name in names if events.SummaryMetadata(name).plugin_data.plugin_name == plugin]


def read_mlflow(run: Path) -> Stored:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{run}/trackers/mlflow/mlflow.db")
    [experiment] = client.search_experiments(filter_string="name = 'soundmill'")
    [one] = client.search_runs([experiment.experiment_id])
    found = Stored(parameters=one.data.params, figures={**one.data.metrics, **one.data.tags}, end=one.info.status)
    for name in one.data.metrics:
        points = client.get_metric_history(one.info.run_id, name)
        found.curves[name] = [(point.step, point.value) for point in points]
    for path, content in files_of(Path(client.download_artifacts(one.info.run_id, ""))).items():
        folder, _, name = path.rpartition("/")
        if folder == "model":
            found.model[name] = content
        elif folder in ("pictures", "sounds"):
            getattr(found, folder)[Path(name).stem] = content
        else:
            found.texts[name] = content.decode()
    return found


def read_comet(run: Path) -> Stored:
    from comet_ml.scripts.comet_offline import ArchivedExperiment

    found = Stored()
    for archive in sorted((run / "trackers" / "comet").glob("*.zip"), key=lambda path: path.stat().st_mtime_ns):
        table = archive.with_suffix(".csv")
        options = argparse.Namespace(
            csv=True, output=str(table), level=["detail"], section=None, name=None, raw_size=True
        )
        ArchivedExperiment(str(archive), options)
        with open(table, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["section"] == "param":
                    found.parameters[row["name"]] = row["value"]
        table.unlink()
        with zipfile.ZipFile(archive) as content:
            for line in content.read("messages.json").splitlines():
                message = json.loads(line)
                payload = message["payload"]
                if message["type"] == "metric_msg":
                    metric = payload["metric"]
                    points = found.curves.setdefault(metric["metricName"], [])
                    points.append((metric["step"], metric["metricValue"]))
                elif message["type"] == "log_other":  # which Comet's own table of an archive leaves out
                    found.figures[payload["key"]] = payload["value"]
                elif message["type"] == "file_upload":
                    _add_asset(found, payload, content.read(payload["file_path"]))
    found.end = found.figures["end"]
    return found


def _add_asset(found: Stored, payload: dict[str, Any], content: bytes) -> None:
    said, kind = payload["additional_params"], payload["upload_type"]
    if kind == "visualization":
        found.pictures[said["figName"]] = content
        found.captions[said["figName"]] = payload["metadata"]["caption"]
    elif kind == "audio":
        found.sounds[Path(said["fileName"]).stem] = content
    elif kind == "model-element":
        found.model[said["fileName"].removeprefix("model/")] = content
    else:
        found.texts[said["fileName"]] = content.decode()


def read_wandb(run: Path) -> Stored:
    found = Stored()
    for folder in sorted((run / "trackers" / "wandb").glob("offline-run-*")):
        [log] = folder.glob("*.wandb")
        for record in records(log):
            if record.HasField("run"):
                found.parameters |= {one.key: json.loads(one.value_json) for one in record.run.config.update}
            elif record.HasField("summary"):
                for one in record.summary.update:
                    found.figures[one.key or "/".join(one.nested_key)] = json.loads(one.value_json)
            elif record.HasField("history"):
                row: dict[str, Any] = {}
                for one in record.history.item:
                    name, *within = one.nested_key or [one.key]
                    value = json.loads(one.value_json)
                    row[name] = {**row.get(name, {}), within[0]: value} if within else value
                for name, value in row.items():
                    if isinstance(value, dict) and value["_type"] in ("image-file", "audio-file"):
                        content = (folder / "files" / value["path"]).read_bytes()
                        kind = found.pictures if value["_type"] == "image-file" else found.sounds
                        kind[name.removesuffix(" sound")] = content
                        found.captions[name] = value["caption"]
                    elif "epoch" in row:
                        found.curves.setdefault(name, []).append((row["epoch"], value))
            elif record.HasField("artifact") and record.artifact.type == "model":
                for entry in record.artifact.manifest.contents:
                    found.model[entry.path] = Path(entry.local_path).read_bytes()
            elif record.HasField("files"):
                for one in record.files.files:
                    if "/" not in one.path:
                        found.texts[one.path] = (folder / "files" / one.path).read_text()
            elif record.HasField("exit"):
                found.end = str(record.exit.exit_code)
    return found


def records(path: Path) -> Iterator[Any]:
    """The records of an offline run: a log of LevelDB with a head of seven bytes, in it wandb's own messages."""
    from wandb.proto import wandb_internal_pb2

    content = path.read_bytes()
    assert content.startswith(b":W&B")
    place, joined = 7, b""
    while place + 7 <= len(content):
        left = 32_768 - place % 32_768
        _, size, kind = struct.unpack("<IHB", content[place : place + 7])
        if left < 7 or not kind:
            place += left
            continue
        joined += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or its last part
            yield wandb_internal_pb2.Record.FromString(joined)
            joined = b""
