"""The background noise that a run keeps in its folder, so that what resumes or evaluates it has the same."""

from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import UsageError
from features.frontend.spec import FeatureSpec
from features.io.atomic import AtomicFile
from features.runtime.log import LOG
from features.sources.partition import PARTITIONS
from model.training.label_plan import LabelPlan
from model.training.noise import Noise, NoiseWindows, compute_noise, join_windows
from model.training.run_folder import NOISE, NoiseRecord, read_config

_ROW_GROUP_ROWS = 1024


def write_noise(path: Path, noise: Noise) -> int:
    """Writes the windows as a Parquet file, a row each, and returns its CRC-32C."""
    schema = pa.schema([
        pa.field("partition", pa.string(), nullable=False),
        pa.field("recording", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("features", pa.binary(), nullable=False),
    ])  # fmt: skip
    with AtomicFile(path) as file:
        with pq.ParquetWriter(pa.PythonFile(file, mode="w"), schema, compression="none", use_dictionary=[
            "partition", "recording"
        ], write_statistics=False) as writer:  # fmt: skip
            for partition, windows in noise.windows.items():
                for first in range(0, len(windows), _ROW_GROUP_ROWS):
                    rows = slice(first, first + _ROW_GROUP_ROWS)
                    tensors = [row.astype("<f4").tobytes() for row in windows.features[rows]]
                    columns = [
                        pa.array([partition] * len(tensors), pa.string()),
                        pa.array(windows.recordings[rows], pa.string()),
                        pa.array(windows.starts[rows], pa.int64()),
                        pa.array(tensors, pa.binary()),
                    ]
                    writer.write_table(pa.Table.from_arrays(columns, schema=schema))
        return file.crc32c


def read_noise(path: Path, crc32c: int, spec: FeatureSpec) -> Noise:
    """Reads what `write_noise` wrote.

    Args:
        path: of the file.
        crc32c: what it returned.
        spec: the front end.

    Raises:
        UsageError: the file is missing, or is another.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the background noise of the run, {path}, cannot be read: {error.strerror}; train into a new "
                         "folder") from error  # fmt: skip
    if google_crc32c.value(content) != crc32c:
        raise UsageError(f"the background noise of the run, {path}, is damaged or another; train into a new folder")
    with pq.ParquetFile(pa.BufferReader(content)) as file:
        found: dict[str, list[NoiseWindows]] = {partition: [] for partition in PARTITIONS}
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            features = np.stack([np.frombuffer(row, "<f4") for row in table["features"].to_pylist()])
            found[table["partition"][0].as_py()].append(NoiseWindows(
                features.reshape(-1, *spec.shape), table["recording"].to_pylist(), table["start"].to_numpy()
            ))  # fmt: skip
    return Noise({partition: join_windows(parts, spec) for partition, parts in found.items()})


def noise_of_run(
    run: Path, config: dict[str, Any] | None, folder: str | None, spec: FeatureSpec
) -> tuple[Noise | None, NoiseRecord | None]:
    """Returns the background noise of a run and its record: what the run holds, else that of a folder, kept in the run.

    Args:
        run: the run folder.
        config: its record; None for a new run.
        folder: of the recordings for a new run, None where it uses none.
        spec: the front end.

    Raises:
        UsageError: no recording can be used, or what the run holds is missing or damaged.
    """
    if config:
        record: NoiseRecord | None = config.get("noise")
        return (read_noise(run / NOISE, record["crc32c"], spec), record) if record else (None, None)
    if folder is None:
        return None, None
    noise = compute_noise(folder, spec)
    checksum = write_noise(run / NOISE, noise)
    counts = {partition: len(windows) for partition, windows in noise.windows.items()}
    total, recordings = sum(counts.values()), {name for part in noise.windows.values() for name in part.recordings}
    LOG.info("background noise: %s windows of %s recordings in %s", f"{total:,}", f"{len(recordings):,}", folder)
    return noise, {"folder": folder, "crc32c": checksum, "windows": counts}


def labels_of(run: Path, spec: FeatureSpec) -> tuple[LabelPlan, Noise | None]:
    """Returns what labels count as in a run, and its background noise where `_silence_` is cut from it.

    Args:
        run: the run folder; without a record each label is a class.
        spec: the front end.

    Raises:
        UsageError: the noise that the run holds is missing or damaged.
    """
    try:
        config = read_config(run)
    except UsageError:  # a run folder takes no more than its model to be used
        config = None
    if config is None:
        return LabelPlan(), None
    plan = LabelPlan(config["settings"].labels)
    return plan, noise_of_run(run, config, None, spec)[0] if plan.settings.silence_share else None
