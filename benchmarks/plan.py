"""Measures the plan of a set of many clips, and its work list: python benchmarks/plan.py --output /tmp/bench.

The clips are names, sizes and times without files: a listing is no part of it but for the memory that its table takes.
A plan is compared, dealt into units, named and written to the work list: of a new set; of one whose state has all
clips as they are; and of one of which one clip in a hundred has changed, so that every shard is written anew. Each is
a process of its own. Seconds are those of a core; memory is what cannot be dropped, private and shared memory, less
what Python and its libraries took before the table.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from measure import machine

from features.frontend.presets import preset
from features.io.unit_file import UnitFile
from features.sources.clips import Source, clip_table
from features.store.clips_table import CLIPS_COLUMNS, CLIPS_SCHEMA
from features.store.known_rows import CACHE_SCHEMA, empty_cache
from features.store.layout import Layout
from features.store.manifest import Provenance
from features.store.shards import Shard
from features.update.changes import Evidence, compare
from features.update.known_lines import KnownLines
from features.update.plan import Plan, make_plan
from features.update.update import Update
from features.update.work_list import read_unit

SCANNED_NS = 1_800_000_000_000_000_000
TAKES, CLASSES = 30, 35
ONE_IN = 100
READ = 50
SPEC = preset("speech-commands")
NEW, SAME, CHANGED = KINDS = ("new", "unchanged", "1 % changed")
SAMPLE_SECONDS = 0.02
ROWS_TOGETHER, GROUP_ROWS = 65_536, 1_000_000
FEW = ["label", "group", "partition", "warning", "decoder", "shard"]


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


def one_in_some_changed(clips: pa.Table) -> pa.Table:
    """Returns the clips with another size of some of them."""
    sizes = clips["size"].to_numpy() + (np.arange(len(clips)) % ONE_IN == 0) * 10_000
    return clips.set_column(clips.column_names.index("size"), "size", pa.array(sizes))


def write_state(clips: pa.Table, path: Path) -> None:
    """Writes the clips table of a set of these clips, as its commit would, and what its shards are called."""
    changes = compare(clips, KnownLines(lambda _: []), Evidence("/", SCANNED_NS))
    plan = make_plan(changes, {}, SPEC, "tfrecord")
    with pq.ParquetWriter(path, CLIPS_SCHEMA) as writer:
        waiting: list[pa.Table] = []
        for name, members in plan.units.items():
            taken, number = changes.take(members), np.arange(len(members))
            hashes = pa.array([f"xxh3-{member * 2**64 + 2**127:032x}" for member in members.tolist()])
            extra = {
                "content_hash": hashes,
                "seconds": np.ones(len(members)),
                "warning": pa.nulls(len(members), pa.string()),
                "decoder": pa.array(["wav"] * len(members)),
                "row": pa.array(number, pa.int32()),
                "offset": number * SPEC.row_bytes,
                "crc32c": members * 7919 % 2**32,
                "shard": pa.array([name] * len(members)),
            }
            columns = [extra[column] if column in extra else taken[column] for column in CLIPS_COLUMNS]
            waiting.append(pa.table(columns, names=CLIPS_COLUMNS).cast(CLIPS_SCHEMA))
            if sum(map(len, waiting)) >= GROUP_ROWS:
                writer.write_table(pa.concat_tables(waiting), row_group_size=GROUP_ROWS)
                waiting = []
        writer.write_table(pa.concat_tables([CLIPS_SCHEMA.empty_table(), *waiting]))
    shards = {name: [[unit, len(plan.units[unit])] for unit in held] for name, held in plan.partitions.items()}
    path.with_suffix(".json").write_text(json.dumps(shards))


def read_state(path: Path, columns: list[str]) -> Iterator[pa.Table]:
    """Yields what the state knows, some rows at a time."""
    with pq.ParquetFile(path, read_dictionary=FEW) as file:
        for batch in file.iter_batches(ROWS_TOGETHER, columns=[name for name in columns if name in CLIPS_COLUMNS]):
            part = pa.Table.from_batches([batch])
            for name in columns:
                if name not in CLIPS_COLUMNS:
                    part = part.append_column(name, pa.nulls(len(part), CACHE_SCHEMA.field(name).type))
            yield part


class Memory:
    """The most memory of this process that cannot be dropped, looked at from time to time."""

    def __init__(self) -> None:
        """Begins to look."""
        self.least = self.most = self.now()
        threading.Thread(target=self._look, daemon=True).start()

    @staticmethod
    def now() -> int:
        """Returns the bytes of this instant: mapped files are not among them."""
        lines = Path("/proc/self/status").read_text().splitlines()
        values = dict(line.split(":", 1) for line in lines)
        return sum(int(values[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))

    def _look(self) -> None:
        while True:
            self.most = max(self.most, self.now())
            time.sleep(SAMPLE_SECONDS)


def measure(kind: str, number: int, output: Path) -> dict[str, Any]:
    """Plans so many clips in this process and returns what it took."""
    state, work_list = output / f"state-{number}.parquet", output / "work_list.units"
    for unused in (empty_cache(), preset("log-mel")):  # what is loaded with them counts for Python
        del unused
    memory = Memory()
    clips = names(number) if kind != CHANGED else one_in_some_changed(names(number))
    pa.default_memory_pool().release_unused()
    steps, listed = {"the clips, as they were listed": (0.0, memory.now() - memory.least)}, memory.least
    shards: dict[str, list[Shard]] = {}
    lines = KnownLines(lambda _: [])
    if kind != NEW:
        named = json.loads(state.with_suffix(".json").read_text())
        shards = {name: [Shard(unit, rows, 1, 0) for unit, rows in held] for name, held in named.items()}
        lines = KnownLines(lambda columns: read_state(state, columns), output)

    def timed(what: str, work: Any) -> Any:
        memory.most = memory.now()
        started = time.process_time()
        result = work()
        memory.most = max(memory.most, memory.now())
        steps[what] = time.process_time() - started, memory.most - listed
        return result

    evidence = Evidence("/", SCANNED_NS, SCANNED_NS)
    changes = timed("compared", lambda: compare(clips, lines, evidence))
    plan: Plan = timed("dealt into units, with their names", lambda: make_plan(changes, shards, SPEC, "tfrecord"))
    layout, source, provenance = (
        Layout(output, "tfrecord"),
        Source("folder", "/", clips, {}, []),
        Provenance({}, {}, {}),
    )
    update = Update(layout, None, source, SPEC, provenance, changes, plan, SCANNED_NS, list(plan.units),
                    empty_cache(), np.broadcast_to(-1, len(clips)))  # fmt: skip
    timed("the work list written", lambda: update.write_work_list(work_list))
    result = {
        "steps": steps,
        "units": len(plan.units),
        "figures": update.figures,
        "bytes": work_list.stat().st_size,
        "resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "read": read_some(work_list, len(plan.units)),
    }
    work_list.unlink()
    return result


def read_some(work_list: Path, units: int) -> list[float]:
    """Returns how many milliseconds it takes to open a work list and read a unit, median and most."""
    seconds = []
    for number in random.Random(0).sample(range(units), min(READ, units)):
        started = time.perf_counter()
        with UnitFile(work_list) as file:
            read_unit(file, number)
        seconds.append(time.perf_counter() - started)
    return [statistics.median(seconds) * 1e3, max(seconds) * 1e3] if seconds else [0.0, 0.0]


def in_a_process(*arguments: str) -> Any:
    """Returns what this program prints in another process."""
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout or "null")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder on a disk for tables and work lists")
    parser.add_argument("--clips", type=int, nargs="+", default=[1_000_000, 3_000_000, 10_000_000], help="%(default)s")
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=KINDS, help="%(default)s")
    parser.add_argument("--one", choices=[*KINDS, "state"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.one == "state":
        write_state(names(options.clips[0]), options.output / f"state-{options.clips[0]}.parquet")
    elif options.one:
        print(json.dumps(measure(options.one, options.clips[0], options.output)))
    if options.one:
        return
    print(f"{machine('numpy', 'pyarrow')}. Load {os.getloadavg()[0]:.1f}.\n")
    print("| set | clips | units | µs of a core a clip: compared | named | written | all | "
          "bytes a clip at most | with the table of clips | resident at most |")  # fmt: skip
    print("|---|" + "---|" * 9)
    for number in options.clips:
        arguments = "--output", str(options.output), "--clips", str(number), "--one"
        if set(options.kinds) != {NEW}:
            in_a_process(*arguments, "state")
        for kind in options.kinds:
            found = in_a_process(*arguments, kind)
            listed, *steps = found["steps"].values()
            seconds = [second for second, _ in steps]
            most = max(size for _, size in steps)
            times = " | ".join(f"{second / number * 1e6:.2f}" for second in [*seconds, sum(seconds)])
            print(f"| {kind} | {number:,} | {found['units']:,} | {times} | {(most - listed[1]) / number:,.0f} | "
                  f"{most / number:,.0f} | {found['resident'] / 2**20:,.0f} MiB |", flush=True)  # fmt: skip
        for path in options.output.glob(f"state-{number}.*"):
            path.unlink()


if __name__ == "__main__":
    main()
