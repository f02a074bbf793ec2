"""What a plan takes of memory, clip by clip."""

import subprocess
import sys

import pytest

# Of what a listing has: a path, a group, a label, a partition, numbers.
PLAN = """
import sys, threading, time
import numpy as np, pyarrow as pa, pyarrow.compute as pc
from features.frontend.presets import preset
from features.io.unit_file import write_units
from features.sources.clips import clip_table
from features.store.known_rows import CACHE_SCHEMA
from features.store.shards import Shard
from features.update.changes import Evidence, compare
from features.update.known_lines import KnownLines
from features.update.plan import make_plan

kind, number = sys.argv[1], int(sys.argv[2])
NOW = 1_800_000_000_000_000_000

def resident():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return 1024 * sum(int(lines[name].split()[0]) for name in ("RssAnon", "RssShmem"))

numbers = np.arange(number)
paths = pc.binary_join_element_wise("word/", pa.array(numbers).cast(pa.string()), "_nohash_0.wav", "")
clips = clip_table(paths, numbers + 1_000, numbers + 10**18, label=pa.array(["word"] * number),
                   group=pa.array(numbers // 30).cast(pa.string()), partition=pa.array(["training"] * number))

def read(columns):
    for first in range(0, number if kind == "known" else 0, 65_536):
        part = clips.slice(first, 65_536)
        count = len(part)
        extra = {"row": pa.array(range(count), pa.int32()), "shard": pa.array([f"training-{first}"] * count),
                 "decoder": pa.array(["wav"] * count)}
        columns = [part[name] if name in part.column_names else extra.get(name, pa.nulls(count))
                   for name in CACHE_SCHEMA.names]
        yield pa.table(columns, names=CACHE_SCHEMA.names).cast(CACHE_SCHEMA)

shards = {"training": [Shard(f"training-{first}", min(65_536, number - first), 1, 0)
                       for first in range(0, number if kind == "known" else 0, 65_536)]}
pa.default_memory_pool().release_unused()
before = most = resident()

def look():
    global most
    while True:
        most = max(most, resident())
        time.sleep(0.005)

threading.Thread(target=look, daemon=True).start()
changes = compare(clips, KnownLines(read), Evidence("/", NOW, NOW))
plan = make_plan(changes, shards, preset("speech-commands"), "tfrecord")
print(len(plan.units), len(plan.staying), max(most, resident()) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("kind", ["new", "known"])
def test_a_clip_takes_at_most_so_many_bytes(kind):
    """Twice what is measured, beside the listing of 100 bytes: numbers of a clip, and no second copy of what it is."""
    peaks = []
    for number in (100_000, 300_000):
        done = subprocess.run(
            [sys.executable, "-c", PLAN, kind, str(number)], check=True, stdout=subprocess.PIPE, text=True
        )
        units, staying, peak = map(int, done.stdout.split())
        assert (units, staying) == ((-(-number // 1_024), 0) if kind == "new" else (0, -(-number // 65_536)))
        peaks.append(peak)
    assert (peaks[1] - peaks[0]) / 200_000 < 200
