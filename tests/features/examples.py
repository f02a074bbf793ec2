"""Specs, clip tables and units that several tests of this folder begin with."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from features.frontend.presets import preset
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import FrontEnd
from features.io.unit_file import UnitFile
from features.sources.clips import Source
from features.sources.folder import scan
from features.sources.partition import assign
from features.sources.policies import DEFAULTS
from features.store import parquet_rows
from features.store.layout import Layout
from features.store.manifest import Manifest, Provenance, existing_manifest
from features.store.run_log import append_run
from features.update.shard_builder import build_shard
from features.update.update import CacheRules, Update, prepare
from features.update.work_list import ShardUnit, read_unit
from tests.signals import chirp, impulse, noise, sine

STFT = preset("speech-commands")
LOG_MEL = preset("log-mel")
# librosa's MFCCs as DESIGN.md names them, of one second.
MFCC = FeatureSpec(
    front_end="mfcc",
    sample_rate_hz=22_050,
    clip_seconds=1.0,
    window_samples=2048,
    hop_samples=512,
    fft_samples=2048,
    centred=True,
    spectrum_power=2,
    mel_filter_bank="slaney",
    mel_bands=128,
    mel_low_hz=0.0,
    mel_high_hz=11_025.0,
    log_scale="decibel",
    log_offset=1e-10,
    dynamic_range_db=80.0,
    coefficients=40,
)
SPECS = {"stft": STFT, "log_mel": LOG_MEL, "mfcc": MFCC}
# Small and quick, for tests that look at files and not at values: (4, 9).
TINY = FeatureSpec(
    front_end="stft", sample_rate_hz=16_000, clip_seconds=0.005, window_samples=16, hop_samples=16, fft_samples=16
)


def changed(spec: FeatureSpec, **fields: Any) -> FeatureSpec:
    return FeatureSpec.from_dict({**spec.to_dict(), **fields})


def signals(samples: int, rate_hz: int = 16_000) -> np.ndarray:
    """One clip of each kind of signal: (6, samples)."""
    return np.stack(
        [
            sine(440.0, samples, rate_hz),
            chirp(samples, rate_hz),
            noise(samples),
            impulse(samples),
            np.zeros(samples, np.float32),
            noise(samples, seed=1, amplitude=1e-4) + sine(50.0, samples, rate_hz, amplitude=0.9),
        ]
    )


def clip_rows(number: int, **columns: Any) -> pa.Table:
    """A table of clips as the planner takes it; `columns` are one value for all or a list."""
    values: dict[str, Any] = {
        "path": [f"yes/{row:05d}_nohash_0.wav" for row in range(number)],
        "start": 0,
        "duration": None,
        "size": 100,
        "mtime_ns": 1_000,
        "version": None,
        "label": "yes",
        "group": [f"{row:05d}" for row in range(number)],
        "partition": "training",
        **columns,
    }
    text = ("path", "version", "label", "group", "partition", "content_hash")
    return pa.table(
        {
            name: pa.array(
                value if isinstance(value, list) else [value] * number, pa.string() if name in text else pa.int64()
            )
            for name, value in values.items()
        }
    )


def found(root: Path) -> tuple[Source, pa.Table]:
    """Scans a labelled folder and deals out partitions."""
    source = scan(str(root), labelled=True)
    return source, assign(source.clips, source.root, None, None)[0]


def provenance_of(source: Source) -> Provenance:
    """What a manifest says of a source that was asked for without options."""
    return Provenance(DEFAULTS, source.described, {"group": None, "split": None, "limit": None})


def new_set(folder: Path) -> Path:
    """An empty feature set: the folders that the pipeline makes."""
    Layout(folder, "tfrecord").make_folders()
    return folder


def prepared(
    root: Path,
    folder: Path,
    spec: FeatureSpec = TINY,
    storage_format: str = "tfrecord",
    scan_started_ns: int | None = None,
    **rules: Any,
) -> Update:
    """What a featurize of a labelled folder is about to do."""
    scan_started_ns = time.time_ns() if scan_started_ns is None else scan_started_ns
    source, clips = found(root)
    base = existing_manifest(folder)
    layout = Layout(folder, storage_format)
    return prepare(layout, base, source, clips, spec, provenance_of(source), scan_started_ns, CacheRules(**rules))


def units_of(update: Update) -> list[ShardUnit]:
    """The units that are to be done, as a worker gets them, through a work list."""
    folder = update.layout.root
    work_list = folder.parent / f"work-{folder.name}-{os.getpid()}.arrow"
    update.write_work_list(work_list)
    with UnitFile(work_list) as file:
        units = [read_unit(file, number) for number in range(len(update.todo))]
    work_list.unlink()
    return units


def planned(root: Path, folder: Path, spec: FeatureSpec = TINY, storage_format: str = "tfrecord") -> list[ShardUnit]:
    """Scans, deals and plans a labelled folder; every file is hashed, so that the time of a test changes no name."""
    return units_of(prepared(root, folder, spec, storage_format, scan_started_ns=0))


def build_units(update: Update) -> None:
    """Does in this process what the pipeline does in workers."""
    update.layout.make_folders()
    for unit in units_of(update):
        build_shard(unit, update.layout, update.source.root, update.spec)


def committed(update: Update, **provenance: Any) -> tuple[Manifest, bool]:
    """Commits what was built, with another provenance where it is given."""
    return replace(update, provenance=replace(update.provenance, **provenance)).commit()


def featurized(
    root: Path, folder: Path, spec: FeatureSpec = TINY, storage_format: str = "tfrecord", **options: Any
) -> tuple[Update, Manifest]:
    """Featurizes a labelled folder as the command does, but for Beam."""
    update = prepared(root, folder, spec, storage_format, **options)
    build_units(update)
    manifest, _ = committed(update)
    append_run(update.layout, {**update.figures, "state": manifest.state, "scan_started_ns": update.scan_started_ns})
    return update, manifest


def other_libraries(patch: pytest.MonkeyPatch) -> None:
    """As if another version of a library had computed the set: values differ in their last digits, files in groups."""
    compute = FrontEnd.compute

    def compute_otherwise(front_end, waveforms, out):
        compute(front_end, waveforms, out)
        out *= np.float32(1 + 1e-6)

    patch.setattr(FrontEnd, "compute", compute_otherwise)
    patch.setattr(parquet_rows, "_ROW_GROUP_ROWS", 2)
