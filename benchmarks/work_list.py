"""Measures the plan of 100,000 units of 100 clips, and its work list: python benchmarks/work_list.py.

The clips are names, sizes and times without files: a listing is no part of it. Seconds are those of a core.
"""

import argparse
import random
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from measure import machine

from features.frontend.presets import preset
from features.frontend.spec import FeatureSpec
from features.io.unit_file import UnitFile
from features.sources.clips import Source, clip_table
from features.store.known_rows import empty_cache
from features.store.layout import Layout
from features.store.manifest import Provenance
from features.store.shards import rows_per_shard
from features.update.changes import NOTHING, Evidence, compare
from features.update.plan import make_plan
from features.update.update import Update
from features.update.work_list import read_unit

SCANNED_NS = 1_800_000_000_000_000_000
TAKES, CLASSES = 30, 35
READ = 50


def names(number: int) -> pa.Table:
    """Returns clips as a listing of folders of words gives them: some of each speaker, a tenth of them for testing."""
    numbers, random_numbers = np.arange(number), np.random.default_rng(0)
    words = pa.array([f"word_{word:02d}" for word in range(CLASSES)])
    labels = words.take(pa.array(numbers % CLASSES))
    speakers = pa.array(numbers // TAKES * 2_654_435_761 % 2**32).cast(pa.string())
    takes = pa.array(numbers % TAKES).cast(pa.string())
    paths = pc.binary_join_element_wise(labels, "/", speakers, "_nohash_", takes, ".wav", "")
    partitions = pa.array(["training", "testing"]).take(pa.array((random_numbers.random(number) < 0.1).astype(np.int8)))
    times = pa.array(SCANNED_NS - 10**17 + random_numbers.integers(0, 10**16, number))
    sizes = pa.array(32_000 + random_numbers.integers(0, 2_000, number))
    return clip_table(paths, sizes, times, label=labels, group=speakers, partition=partitions)


def spec_of(rows: int) -> FeatureSpec:
    """Returns a front end of which a shard has so many rows at most, by longer clips."""
    of_a_second = preset("speech-commands")
    least, most = 1, 65_536  # tenths of a second
    while least < most:
        tenths = (least + most) // 2
        if rows_per_shard(replace(of_a_second, clip_seconds=tenths / 10)) > rows:
            least = tenths + 1
        else:
            most = tenths
    return replace(of_a_second, clip_seconds=least / 10)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for the work list")
    parser.add_argument("--units", type=int, default=100_000, help="(%(default)s)")
    parser.add_argument("--unit-clips", type=int, default=100, help="about so many of each (%(default)s)")
    options = parser.parse_args()
    where, spec = machine("numpy", "pyarrow"), spec_of(options.unit_clips)
    options.output.mkdir(parents=True, exist_ok=True)
    work_list = options.output / "work_list.units"
    clips = names(options.units * rows_per_shard(spec))
    lines = []

    def timed(what: str, work: Callable[[], Any]) -> Any:
        started = time.process_time()
        result = work()
        seconds = time.process_time() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        lines.append(f"| {what} | {seconds:.2f} | {peak:,.0f} MiB | {pa.total_allocated_bytes() / 2**20:,.0f} MiB |")
        return result

    timed("the clips, as they were listed", lambda: clips)
    changes = timed("compared with an empty set", lambda: compare(clips, empty_cache(), Evidence("/", SCANNED_NS)))
    plan = timed("dealt into units, with their names", lambda: make_plan(changes, {}, spec, "tfrecord"))
    layout, source = Layout(options.output, "tfrecord"), Source("folder", "/", clips, {}, [])
    spare_of = np.full(len(clips), NOTHING)
    update = Update(layout, None, source, spec, Provenance({}, {}, {}), changes, plan, SCANNED_NS, list(plan.units),
                    empty_cache(), spare_of)  # fmt: skip
    timed("the work list written", lambda: update.write_work_list(work_list))
    chosen = random.Random(0).sample(range(len(plan.units)), READ)
    opened, read = [], []
    for number in chosen:
        started = time.perf_counter()
        with UnitFile(work_list) as units:
            began = time.perf_counter()
            read_unit(units, number)
        opened.append(began - started)
        read.append(time.perf_counter() - began)
    print(f"{len(plan.units):,} units of {rows_per_shard(spec)} clips at most, {len(clips):,} clips, "
          f"{work_list.stat().st_size / 1e6:,.0f} MB. {where}.\n")  # fmt: skip
    print("| | seconds of a core | most memory until then | held by tables |\n|---|---|---|---|")
    print("\n".join(lines))
    for what, seconds in (("opened", opened), ("a unit read", read)):
        median, most = statistics.median(seconds) * 1e3, max(seconds) * 1e3
        print(f"{what}: {median:.1f} ms of the clock, {most:.1f} at most")
    work_list.unlink()


if __name__ == "__main__":
    main()
