"""What the tests of the network share: a set of many small shards."""

from pathlib import Path

import pyarrow as pa
import pytest

from features.frontend.spec import FeatureSpec
from features.sources.clips import Clip
from features.sources.folder import scan
from features.sources.partition import PARTITIONS, assign
from features.store.clip_lines import Staying
from features.store.commit import commit
from features.store.contents import gather
from features.store.layout import Layout
from features.store.manifest import Provenance
from features.update.shard_builder import build_shard
from features.update.work_list import ShardUnit
from tests.conftest import no_lines

SMALL_SPEC = FeatureSpec(
    front_end="stft", sample_rate_hz=8_000, clip_seconds=0.25, window_samples=128, hop_samples=64, fft_samples=128
)
SHARD_ROWS = (1, 7, 11, 8, 10, 9, 2, 12, 5, 6)


def make_small_shards(source: Path, folder: Path, storage_format: str) -> Path:
    """Featurizes a source into ten shards of training clips, and one of all the others."""
    layout = Layout(folder, storage_format)
    layout.make_folders()
    scanned = scan(str(source), labelled=True)
    clips = assign(scanned.clips, scanned.root, None, None)[0]
    # The order of the folder would give each shard one class; any other order will do.
    clips = clips.take(pa.array([row * 7 % len(clips) for row in range(len(clips))]))
    rows = clips.to_pylist()
    training = [Clip(**row) for row in rows if row["partition"] == "training"]
    units = []
    for number, size in enumerate(SHARD_ROWS):
        units.append(ShardUnit(f"training-{number:024d}", tuple(training[:size])))
        training = training[size:]
    units.append(ShardUnit(f"training-{len(SHARD_ROWS):024d}", tuple(training)))
    rest = tuple(Clip(**row) for row in rows if row["partition"] == "validation")
    units.append(ShardUnit(f"validation-{0:024d}", rest))
    for unit in units:
        build_shard(unit, layout, scanned.root, SMALL_SPEC)
    partitions = {name: [unit.name for unit in units if unit.name.startswith(name)] for name in PARTITIONS}
    contents = gather(layout, partitions, Staying({}, no_lines), [], SMALL_SPEC)
    commit(layout, contents, None, SMALL_SPEC, Provenance({}, {"kind": "folder", "root": scanned.root}, {}))
    return folder


@pytest.fixture(scope="session")
def small_shards(words, tmp_path_factory) -> dict[str, Path]:
    """A set of eleven small training shards, by format."""
    root = tmp_path_factory.mktemp("small-shards")
    return {name: make_small_shards(words, root / name, name) for name in ("tfrecord", "parquet")}
