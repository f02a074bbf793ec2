"""The request of a featurize run, and what it would do."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from features.errors import UsageError
from features.frontend.presets import NetworkChoice, preset_name
from features.frontend.spec import FeatureSpec
from features.io.filesystem import place
from features.runtime.log import LOG
from features.sources import partition, walk_ahead
from features.sources.clip_order import limit
from features.sources.clips import Source
from features.sources.corrections import correct
from features.sources.formats.annotated import ANNOTATIONS
from features.sources.leaks import COLUMNS, equal_contents
from features.sources.listing import InputFormat, list_labelled
from features.sources.name_stems import spread_stems
from features.sources.paths import absolute_path
from features.sources.policies import DEFAULTS, Policies
from features.sources.remarks import remarks
from features.sources.review import Review, read_review
from features.sources.table_layout import TableLayout
from features.store.clips_table import clips_batches
from features.store.layout import Layout
from features.store.lost_classes import lost_classes, lost_text
from features.store.manifest import Manifest, Provenance, check_text, existing_manifest
from features.update.front_end_network import FrontEndNetwork, find_network, named_differences
from features.update.update import CacheRules, Update, check_removal, prepare

NO_CORRECTIONS = "none"
"""What stands for no review, so that those of the committed state count no longer."""


@dataclass(frozen=True)
class Request:
    """The request of a featurize run.

    Attributes:
        input: folder, or table or manifest that names recordings.
        output: folder of the feature set.
        spec: the front end.
        storage_format: `tfrecord` or `parquet`.
        group: rule of the groups, see `features.sources.groups.groups_of`.
        split: percentages of training, validation and testing; None leaves it to the source or 80/10/10.
        limit: number of clips at most.
        table_layout: where a table says what.
        label_pattern: what finds the labels in the paths of a folder; None for the first folder below it.
        allow_removal: whether most clips may leave the set, or come from another source.
        source_moved: whether the source may lie elsewhere than it did.
        rules: what of the cache is not believed.
        policies: whether clips that have a warning are used; the clips table says which were.
        network: where the file of the front end's network is, and what was said of it; None where nothing was.
        input_format: how the input is read.
        corrections: reviews that correct the clips; `none` among them where those of the committed state need not be.
    """

    input: str
    output: str
    spec: FeatureSpec
    storage_format: str = "tfrecord"
    group: str | None = None
    split: tuple[int, int, int] | None = None
    limit: int | None = None
    table_layout: TableLayout = field(default_factory=TableLayout)
    label_pattern: str | None = None
    allow_removal: bool = False
    source_moved: bool = False
    rules: CacheRules = field(default_factory=CacheRules)
    policies: Policies = field(default_factory=lambda: dict(DEFAULTS))
    network: NetworkChoice | None = None
    corrections: Sequence[str] = ()
    input_format: InputFormat = field(default_factory=InputFormat)

    @property
    def layout(self) -> Layout:
        """Where the files of the feature set lie, by its absolute path."""
        return Layout(place(absolute_path(self.output)), self.storage_format)

    def _provenance(self, source: Source, network: FrontEndNetwork | None) -> Provenance:
        chosen = {"group": self.group, "split": list(self.split) if self.split else None, "limit": self.limit}
        columns = {"columns": source.columns} if source.columns else {}
        record = None if network is None else network.record
        return Provenance(dict(self.policies), source.described, {**chosen, **columns}, record, source.corrections)

    def read(self, expect: Callable[[int], None] = lambda clips: None) -> Update:
        """Lists the clips, logs what is unusual about them, and compares them with the committed state.

        Args:
            expect: told, before all else is found out, how many clips will be computed for a new set.

        Raises:
            UsageError: the input or a review cannot be used, the output holds something else or was corrected by
                another review, or the network of the front end is not there or not what the spec says.
            RunError: a table of the committed state cannot be read.
        """
        scan_started_ns = walk_ahead.began_ns()
        base = existing_manifest(self.output)
        self._check_spec(base)
        reviews = self._reviews(base)
        network = find_network(self.layout, self.spec, self.network, base)
        source, clips = self.find_clips(reviews)
        self._check_source(base, source)
        if base is None:
            expect(len(clips))
        update = prepare(
            self.layout,
            base,
            source,
            clips,
            self.spec,
            self._provenance(source, network),
            scan_started_ns,
            self.rules,
        )
        update = replace(update, network=network)
        if not self.allow_removal:
            check_removal(update, self.limit)
        if network is not None and update.computed:
            network.check()
        if update.todo and self.group is None and not self._overruling(source):
            for hint in spread_stems(update.changes.clips):
                LOG.warning("hint: %s", hint)
        return update

    def warn_of_contents(self, update: Update, manifest: Manifest, committed: bool) -> None:
        """Warns of what became of the clips; the scan has warned of what it saw of them.

        Classes have lost all clips, or all training clips, to rejects; of a state that was committed now, contents are
        equal in several partitions or under several labels.
        """
        if lost := lost_classes(update.layout, manifest, update.contents.rejects if committed else None):
            LOG.warning("warning: %s", lost_text(lost))
        trained = partition.without_clips(partition.count(update.changes.clips), [partition.TRAINING])
        left = partition.without_clips(manifest.counts["classes"], [partition.TRAINING])
        if names := [label for label in left if label not in trained]:
            LOG.warning("warning: all training clips of these classes were rejected: %s", ", ".join(names))
        if committed:
            keeping = f"--group content {partition.SPLIT_OPTION}"
            options = keeping if self._overruling(update.source) else "--group content"
            repeated = update.contents.tally.contents.repeated()
            for text in equal_contents(clips_batches(update.layout, manifest, COLUMNS), repeated, options):
                LOG.warning("warning: %s", text)

    def _overruling(self, source: Source) -> str | None:
        return partition.overruling(source.clips, source.root, self.split, partition.lists_of(source))

    def _reviews(self, base: Manifest | None) -> list[Review]:
        """Reads the reviews; refuses to leave out those by which the committed state was corrected."""
        reviews = [read_review(path) for path in dict.fromkeys(self.corrections) if path != NO_CORRECTIONS]
        known = {review.record["path"] for review in reviews} | {review.sha256 for review in reviews}
        files = [] if base is None or base.corrections is None else base.corrections["files"]
        missing = [file["path"] for file in files if known.isdisjoint(file.values())]
        if missing and NO_CORRECTIONS not in self.corrections:
            options = " ".join(f"--corrections {shlex.quote(path)}" for path in missing)
            raise UsageError(f"{self.output} was corrected by {' and '.join(missing)}; add {options} to keep to that, "
                             f"or --corrections {NO_CORRECTIONS} to return to the labels of the source")  # fmt: skip
        contents = {review.sha256 for review in reviews}
        for file in files if NO_CORRECTIONS not in self.corrections else ():
            if file["sha256"] not in contents:
                LOG.warning("warning: %s says something else than when it corrected %s: what it says no longer is "
                            "taken back", file["path"], self.output)  # fmt: skip
        return reviews

    def find_clips(self, reviews: Sequence[Review] = ()) -> tuple[Source, pa.Table]:
        """Lists the clips of the input with their groups and partitions, and logs what is unusual about them.

        Args:
            reviews: that correct them, if any do.
        """
        source = list_labelled(
            self.input, self.table_layout, self.input_format, self.label_pattern, partitioned=self.split is None
        )
        walk_ahead.leave()
        source.columns = self._used_columns(source)
        check_text([*source.described.values(), *source.columns.values(), self.group or ""])
        lists = partition.lists_of(source)
        named = self.split is None and not lists and "partition" in source.clips.column_names
        source, taken = correct(source, reviews, self.limit, is_divided=named) if reviews else (source, None)
        clips, notes = partition.assign(source.clips, source.root, self.group, self.split, lists)
        clips = clips.filter(pa.array(taken)) if taken is not None else clips if reviews else limit(clips, self.limit)
        for note in (*source.notes, *notes, *remarks(clips)):
            LOG.warning("warning: %s", note)
        return source, clips

    def _used_columns(self, source: Source) -> dict[str, str]:
        """Returns the columns of a table less those that --group or official lists overrule."""
        overruled = {"group"} if self.group is not None else set()
        if partition.lists_of(source):
            overruled |= {"partition", "fold"}
        return {role: name for role, name in source.columns.items() if role not in overruled}

    def _check_spec(self, base: Manifest | None) -> None:
        if base is None:
            return
        if base.spec.fingerprint != self.spec.fingerprint:
            name = preset_name(base.spec)
            kept = f"add --preset {name}" if name else "give the --spec that it was made with"
            way_out = f"{kept} to keep to it, or give another --output"
            raise UsageError(
                f"{self.output} holds features of another spec: {named_differences(base, self.spec, self.network)} "
                f"(there against requested); {way_out}"
            )
        if base.storage_format != self.storage_format:
            raise UsageError(f"{self.output} is stored as {base.storage_format}; request that or give another --output")

    def _check_source(self, base: Manifest | None, source: Source) -> None:
        if base is None or self.allow_removal:
            return
        here = (source.root, source.table or "a folder")
        there = (base.source["root"], base.source.get("table", "a folder"))
        same_kind = source.kind == base.source.get("kind", source.kind)
        if self.source_moved and same_kind:  # what is not found again is found out by `check_removal`
            return
        moved = "--source-moved where the same recordings lie there now, " if same_kind else ""
        for one, other in zip(there, here, strict=True):
            if one != other:
                raise UsageError(f"{self.output} was made from {one}, not from {other}; give another --output, {moved}"
                                 "or --allow-removal to make it the features of that")  # fmt: skip
        if not same_kind:
            kind = base.source["kind"]
            option = f"--{kind}" if kind == ANNOTATIONS else f"--input-format {kind}"
            raise UsageError(f"{self.output} was made of what {option} reads, and what is read now is of the kind "
                             f"{source.kind}; add {option} to keep to that, give another --output, or --allow-removal "
                             "to make it the features of that")  # fmt: skip
