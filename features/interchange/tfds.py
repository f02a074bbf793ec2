"""The layout of TensorFlow Datasets: `tfds.builder_from_directory(DIR)`.

Shards of a set in TFRecord are what it reads as they are: they get its names by link. Two files of JSON say what is in
them, `dataset_info.json` and `features.json` (messages `DatasetInfo` and `Feature` of its protocol buffers, in their
JSON form), and `metadata.json` what `builder.info.metadata` returns: the class names among it.
"""

import json
import re
from pathlib import Path
from typing import Any

from features.interchange.placing import COPIED, WRITTEN, place_file
from features.interchange.written import SourceSet, Written, with_progress
from features.io.atomic import AtomicFile
from features.io.tfrecord import write_records
from features.store.layout import Layout
from features.store.shards import Shard, checked_content, read_shard

_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_CONNECTORS = "tensorflow_datasets.core.features"


def write_tfds(source: SourceSet, folder: Path) -> Written:
    """Lays a set out for TensorFlow Datasets.

    Args:
        source: the set.
        folder: where, empty.

    Raises:
        RunError: a shard is missing or damaged.
    """
    written, name, sizes = Written(), dataset_name(source.name), dict[str, list[int]]()
    for split, number, shard in with_progress(source.shards):
        path = folder / f"{name}-{split}.tfrecord-{number:05d}-of-{len(source.shards[split]):05d}"
        written.ways[_place(source, shard, path)] += 1
        written.rows[split] += shard.rows
        sizes.setdefault(split, []).append(path.stat().st_size)
    splits = [
        {
            "name": split,
            "numBytes": str(sum(sizes[split])),
            "shardLengths": [str(shard.rows) for shard in shards],
            "filepathTemplate": _TEMPLATE,
        }
        for split, shards in source.shards.items()
    ]
    info = {
        "name": name,
        "version": f"{source.manifest.state}.0.0",  # another state has other rows
        "fileFormat": "tfrecord",
        "description": f"Features of {source.manifest.counts['clips']:,} clips, fingerprint {source.spec.fingerprint}.",
        "supervisedKeys": {"tuple": {"items": [{"featureKey": "features"}, {"featureKey": "label"}]}},
        "splits": splits,
    }
    metadata = {
        "classes": source.manifest.classes,
        "sample_rate_hz": source.spec.sample_rate_hz,
        "spec": source.spec.to_dict(),
        "fingerprint": source.spec.fingerprint,
    }
    for file, content in (("dataset_info", info), ("features", _features(source)), ("metadata", metadata)):
        written.write(folder / f"{file}.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return written


def dataset_name(name: str) -> str:
    """Returns a name that TensorFlow Datasets takes: a letter, then letters, digits and `_`."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return plain if plain[:1].isalpha() else f"features_{plain}".rstrip("_")


def _place(source: SourceSet, shard: Shard, path: Path) -> str:
    """Puts the rows of a shard into a file; returns how."""
    layout = source.layout
    if layout.storage_format == "tfrecord":
        content = checked_content(layout, shard)
        if isinstance(place := layout.shard(shard.name), Path):
            return place_file(place, path)
        path.write_bytes(content.tobytes())
        return COPIED
    _write_anew(layout, shard, source, path)
    return WRITTEN


def _write_anew(layout: Layout, shard: Shard, source: SourceSet, path: Path) -> None:
    """Writes the rows of a shard in Parquet as the records that a set in TFRecord has."""
    rows = read_shard(layout, shard, source.spec)
    fields: list[dict[str, bytes | int]] = [
        {"path": clip.encode(), "start": start, "label": label.encode(), "group": group.encode()}
        for clip, start, label, group in zip(rows.paths, source.starts(shard), rows.labels, rows.groups, strict=True)
    ]
    with AtomicFile(path, durable=False) as file:
        write_records(file, fields, "features", rows.tensors)


def _features(source: SourceSet) -> dict[str, Any]:
    shape = {"dimensions": [str(size) for size in source.spec.shape]}
    tensor = {"dtype": source.spec.storage_dtype, "encoding": "bytes", "shape": shape}
    texts = {
        "label": "name of the class; info.metadata has all of them in their order",
        "path": "of the recording, relative to the folder that was featurized",
        "group": "clips of one group share a split",
    }
    connectors = {
        "features": {"pythonClassName": f"{_CONNECTORS}.tensor_feature.Tensor", "tensor": tensor},
        "start": {
            "pythonClassName": f"{_CONNECTORS}.scalar.Scalar",
            "tensor": {"dtype": "int64", "encoding": "none", "shape": {}},
            "description": "first frame of the clip within its recording",
        },
        **{
            name: {"pythonClassName": f"{_CONNECTORS}.text_feature.Text", "text": {}, "description": description}
            for name, description in texts.items()
        },
    }
    return {"pythonClassName": f"{_CONNECTORS}.features_dict.FeaturesDict", "featuresDict": {"features": connectors}}
