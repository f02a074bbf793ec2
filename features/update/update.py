"""Brings a feature set up to date with its source: what is to be done, and the commit of what was done."""

import contextlib
import functools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import DECODER_DEPENDENT, Reject, RunError, UsageError
from features.frontend.spec import FeatureSpec
from features.io.filesystem import Location, Uri
from features.io.take import take_rows
from features.runtime.invocation import command_line
from features.runtime.log import LOG
from features.runtime.quantities import counted, size_text
from features.sources.clips import Source
from features.sources.rejects import COLUMNS, STATE_COLUMNS
from features.store.commit import commit
from features.store.contents import Contents, gather
from features.store.decoders import outdated, rows_of
from features.store.known_rows import empty_cache, read_spare
from features.store.layout import Layout
from features.store.manifest import Manifest, Provenance
from features.store.rejects_table import has_rejects
from features.store.reports_ahead import ReportsAhead
from features.store.run_log import last_scan_ns
from features.store.table_parts import fits_one
from features.store.unit_report import finished_units, lost_shards, other_decoder
from features.update.changes import Changes, Evidence, compare, spare_lines
from features.update.clip_index import KEY_COLUMNS
from features.update.front_end_network import FrontEndNetwork
from features.update.known_lines import NOTHING, read_lines
from features.update.plan import Plan, make_plan, unit_members
from features.update.staying import staying
from features.update.work_list import write_work_list

# A row has a path and a label beside its tensor, in the shard and in the tables.
_BYTES_BESIDE = 400
_OF_THE_SCAN = ("mtime_ns", "version")  # a state has them as they were found last, though the contents are the same


@dataclass(frozen=True)
class CacheRules:
    """What of the cache is not believed.

    Attributes:
        verify_content: whether contents are compared where times say that nothing has changed.
        changed_decoder: whose rows are computed anew, see `features.store.decoders.outdated`.
    """

    verify_content: bool = False
    changed_decoder: str | None = None


@dataclass(frozen=True)
class Update:
    """What a run is about to do.

    Attributes:
        layout: of the feature set.
        base: the committed state, None for a new set.
        source: where the clips come from.
        spec: the front end.
        provenance: what the manifest says of the source, of what chose and corrected the clips, and of policies.
        changes: what has become of each clip.
        plan: the shards of the next state.
        scan_started_ns: when the scan of the source began, in nanoseconds since the epoch.
        todo: names of the units that no earlier run has finished.
        spare: rows that an interrupted run has finished in other units.
        spare_of: for each clip its line of `spare`.
        rules: what of the cache is not believed.
        network: that of the front end, None where it has none.
    """

    layout: Layout
    base: Manifest | None
    source: Source
    spec: FeatureSpec
    provenance: Provenance
    changes: Changes
    plan: Plan
    scan_started_ns: int
    todo: list[str]
    spare: pa.Table
    spare_of: NDArray[np.int64]
    rules: CacheRules = CacheRules()
    network: FrontEndNetwork | None = None

    @property
    def computed(self) -> int:
        """Number of clips that this run decodes."""
        return int(self._decoded[self._clips_of(self.todo)].sum())

    @property
    def _decoded(self) -> NDArray[np.bool_]:
        """Whether a clip is decoded."""
        return np.asarray(self.changes.computed & (self.spare_of == NOTHING))

    @property
    def bytes(self) -> int:
        """About how many bytes this run writes: its shards, the tables, and a network that is not there yet."""
        rows = sum(len(self.plan.units[name]) for name in self.todo)
        network = 0 if self.network is None else self.network.missing_bytes
        return rows * (self.spec.row_bytes + _BYTES_BESIDE) + len(self.changes.clips) * _BYTES_BESIDE + network

    def written_bytes(self, manifest: Manifest) -> int:
        """Returns the bytes of the shards of the next state that this run was to build."""
        built = set(self.todo)
        return sum(shard.bytes for shard in manifest.all_shards if shard.name in built)

    def superseded_bytes(self, manifest: Manifest) -> int:
        """Returns the bytes of the shards that were in the committed state and are not in the next one."""
        before = [] if self.base is None else self.base.all_shards
        now = {shard.name for shard in manifest.all_shards}
        return sum(shard.bytes for shard in before if shard.name not in now)

    @property
    def figures(self) -> dict[str, int]:
        """What becomes of how many clips."""
        computed = self.computed
        return {
            "computed": computed,
            "copied": self.changes.copied,
            # What an earlier run has finished and not committed is not computed again.
            "kept": int((~self.changes.refused).sum()) - computed - self.changes.copied,
            "removed": self.changes.removed,
        }

    def computed_rows(self) -> int:
        """Returns of the clips that this run decodes the number of those that are rows of the next state."""
        clips = self._clips_of(self.todo)
        clips = clips[self._decoded[clips]]
        if not len(clips):  # what the next state holds is all of the clips table: it is not made for nothing
            return 0
        refused = {(reject.path, reject.start) for reject in self.contents.rejects}
        if not refused:
            return len(clips)
        paths = pa.array({path for path, _ in refused}, pa.string())
        asked = clips[np.asarray(pc.is_in(self.changes.clips["path"], value_set=paths), np.bool_)[clips]]
        keys = take_rows(self.changes.clips.select(KEY_COLUMNS), asked)
        return len(clips) - sum(key in refused for key in zip(*(one.to_pylist() for one in keys.columns), strict=True))

    def write_work_list(self, path: Location) -> None:
        """Writes the units that are to be done."""
        clips = self._clips_of(self.todo)
        ends = np.cumsum([len(self.plan.units[name]) for name in self.todo], dtype=np.int64)
        copies = bool((self.changes.known[clips] != NOTHING).any() or (self.spare_of[clips] != NOTHING).any())

        def rows(first: int, last: int) -> pa.Table:
            return unit_members(self.changes, clips[first:last], self.spare, self.spare_of, copies)

        write_work_list(self.todo, ends, rows, path, copies)

    def _clips_of(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Returns the numbers of the clips of units, unit after unit."""
        return np.concatenate([self.plan.units[name] for name in names] or [np.empty(0, np.int64)])

    def commit(self) -> tuple[Manifest, bool]:
        """Commits what was done; see `features.store.commit.commit`."""
        if self.base is not None and self._is_base(self.base):
            return self.base, False
        return commit(self.layout, self.contents, self.base, self.spec, self.provenance)

    @functools.cached_property
    def contents(self) -> Contents:
        """What the next state holds, once its units are finished."""
        stays = staying(self.changes, self.plan)
        read = self._reports.take
        return gather(self.layout, self.plan.partitions, stays, self._rejects(), self.spec, self.base, read)

    @functools.cached_property
    def _reports(self) -> ReportsAhead:
        return ReportsAhead(self.layout)

    def reading_reports(self) -> contextlib.AbstractContextManager[None]:
        """Reads the reports of units as they are finished while the block runs, where they will be held anyway."""
        if self.layout.files.is_local and fits_one(len(self.changes.clips)):
            return self._reports.reading(self.todo)
        return contextlib.nullcontext()

    def _is_base(self, base: Manifest) -> bool:
        """Returns whether the next state would be the committed one, to the times of the files."""
        if self.plan.units or list(self.plan.staying.values()) != base.all_shards:
            return False
        same = base.provenance == self.provenance and self.changes.dated
        return same and has_rejects(self.layout, base, self._rejects())

    def _rejects(self) -> list[Reject]:
        """Returns the rejects of the scan, and known ones that need not be tried again."""
        refused = np.flatnonzero(self.changes.refused)
        lines = self.changes.lines.rejects_of(self.changes.known[refused])
        now = take_rows(self.changes.clips.select([*_OF_THE_SCAN, "label"]), refused).to_pylist()
        rows = lines.select([*COLUMNS, *STATE_COLUMNS]).to_pylist()
        return self.source.rejects + [Reject(**{**row, **state}) for row, state in zip(rows, now, strict=True)]


def prepare(
    layout: Layout,
    base: Manifest | None,
    source: Source,
    clips: pa.Table,
    spec: FeatureSpec,
    provenance: Provenance,
    scan_started_ns: int,
    rules: CacheRules = CacheRules(),
) -> Update:
    """Finds out what there is to do.

    Args:
        layout: of the feature set.
        base: its committed state, None for a new one.
        source: where the clips come from.
        clips: table of path, start, duration, size, mtime_ns, version, label, group, partition.
        spec: the front end.
        provenance: what the manifest shall say of the source, of what chose the clips, and of policies.
        scan_started_ns: when the scan began, in nanoseconds since the epoch.
        rules: what of the cache is not believed.

    Raises:
        RunError: a table of the state cannot be read.
    """
    policies = provenance.policies
    same_root = base is not None and base.source.get("root") == source.root
    lost, last_scan, reported = layout.at_once(
        lambda: [] if base is None else lost_shards(layout, base.all_shards),
        lambda: last_scan_ns(layout, base.state) if base is not None and same_root else None,
        layout.reported,
    )
    lines = read_lines(layout, base, lost, policies)
    evidence = Evidence(source.root, scan_started_ns, last_scan, rules.verify_content, _other_decoder(base),
                        rules.changed_decoder, same_root)  # fmt: skip
    changes = compare(clips, lines, evidence)
    shards, state = ({}, 0) if base is None else (base.partitions, base.state)
    plan = make_plan(changes, shards, spec, layout.storage_format, state, source.root, policies)
    finished = finished_units(layout, plan.units.keys() & reported, rules.changed_decoder)
    todo = [name for name in plan.units if name not in finished]
    new = changes.computed.any() and any(changes.computed[plan.units[name]].any() for name in todo)
    spare = read_spare(layout, base, spec.fingerprint, reported) if new else empty_cache()
    others = outdated(spare["decoder"].unique().to_pylist(), rules.changed_decoder)
    spare = spare.filter(pc.invert(rows_of(spare["decoder"], others)))
    return Update(
        layout, base, source, spec, provenance, changes, plan, scan_started_ns, todo,
        spare, spare_lines(changes, spare), rules,
    )  # fmt: skip


def check_space(update: Update) -> None:
    """Logs how much a run will write; raises `RunError` where the file system has no room for it."""
    if not update.todo:
        return
    folder, shards = update.layout.root, counted(len(update.todo), "shard")
    free = None if isinstance(folder, Uri) else shutil.disk_usage(folder).free
    room = "" if free is None else f", {size_text(free)} are free"
    LOG.info("%s to write in %s%s", size_text(update.bytes), shards, room)
    if free is not None and update.bytes > free:
        raise RunError(
            f"{folder} has room for {size_text(free)}, and this run writes about {size_text(update.bytes)}; "
            f"make room ({command_line('features.prune', folder)} removes what no state names any more), give an "
            '--output on another disk, or storage_dtype = "float16" in a spec, which halves it'
        )


def check_removal(update: Update, limit: int | None) -> None:
    """Raises `UsageError` where so much would leave the set that its source is rather not the one it came from.

    Args:
        update: what the run is about to do.
        limit: largest number of clips that was requested.
    """
    if update.base is None or not update.changes.removed:
        return
    folder, committed, removed = update.layout.root, update.base.counts["clips"], update.changes.removed
    windows = (update.base.corrections or {}).get("added", 0)
    if limit is not None and limit < committed - windows:
        raise UsageError(f"--limit {limit} takes {removed:,} of the {committed:,} clips out of {folder}; if "
                         "that is meant, give --allow-removal")  # fmt: skip
    now = update.provenance.corrections  # by other reviews than before some leave, as these say so or say so no longer
    by_reviews = 0 if now == update.base.corrections else windows + (now or {}).get("left_out", 0)
    if 2 * (removed - by_reviews) > committed:
        raise UsageError(
            f"{removed:,} of the {committed:,} clips of {folder} are not in {update.source.root} any more; if "
            "that is meant, and no disk is missing, give --allow-removal"
        )


def _other_decoder(base: Manifest | None) -> bool:
    """Returns whether another decoder is here than the one that could not read some of the clips."""
    return (
        base is not None and not DECODER_DEPENDENT.isdisjoint(base.counts["rejects"]) and other_decoder(base.versions)
    )
