"""What a scoring takes over from an earlier output of a folder that has grown, and what it scores.

A recording is taken over where it is as it was, by path, size and time or version, and its reject where no time can
heal it. So that nothing is mixed, the earlier output has to be of the same settings, and as it was written.

Files of an output appear one after the other. Before the first one does, the manifest of the new output lies beside the
parts; so a run that follows a killed one knows every table that it finds, be it the new or the old one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import RETRYABLE, Reject, UsageError
from features.io.filesystem import Location, exists
from features.runtime.log import LOG
from features.sources.clips import Source
from model.labels.earlier_table import Merge, written_at
from model.labels.output import LABELS
from model.labels.output_manifest import (
    FILES_SCHEMA,
    STATE,
    OutputManifest,
    Settings,
    read_output_manifest,
    unchanged,
)
from model.labels.table_output import TableOutput
from model.scoring.job_folder import manifests_in
from model.scoring.outcome import Outcome, outcome_of
from model.scoring.output_settings import differences

_SHOWN_DIFFERENCES = 4
_BETWEEN = "\x1f"  # the values of a row


@dataclass(frozen=True, eq=False)
class Increment:
    """What is scored, and what stays.

    Attributes:
        source: what was listed, without the recordings that stay.
        settings: all that the tables follow from besides the recordings.
        recordings: paths of all that were listed, in their order.
        kept: of `FILES_SCHEMA`, those that stay.
        bases: the manifest of each table that goes on, by the table's name.
        removed: how many recordings of the earlier output are not there any more.
        finished: whether nothing is to be done.
    """

    source: Source
    settings: Settings
    recordings: pa.ChunkedArray
    kept: pa.Table
    bases: Mapping[str, OutputManifest] = field(default_factory=dict)
    removed: int = 0
    finished: bool = False

    @property
    def states(self) -> pa.Table:
        """The states of the recordings that are scored."""
        return recording_states(self.source)

    @property
    def kept_paths(self) -> list[str]:
        """The paths of the recordings that stay and were labelled."""
        paths: list[str] = self.kept["path"].filter(self.kept["reason"].is_null()).to_pylist()
        return paths

    def all_files(self, scored: pa.Table) -> pa.Table:
        """Returns what became of all recordings, in their order, from what became of those that were scored."""
        if not len(self.kept):
            return scored
        both = pa.concat_tables([self.kept, scored])
        return both.take(pc.index_in(self.recordings, value_set=both["path"]).combine_chunks())

    def outcome(self, listed: Iterable[Reject]) -> Outcome:
        """Returns what came of the recordings where all stay; `listed` are those that could not be listed."""
        is_empty = not self.bases[LABELS].extents[LABELS].any()
        return replace(outcome_of(self.kept, listed), empty=is_empty)

    def merge(self, table: str, place: str) -> Merge | None:
        """Returns how a table goes on from an earlier one, None where it begins anew."""
        if table not in self.bases:
            return None
        kept = np.asarray(pc.is_in(self.recordings, value_set=self.kept["path"]), np.bool_)
        return self.bases[table].merge(table, place, self.recordings, kept)

    def checksums(self, form: str) -> dict[str, int]:
        """Returns the CRC-32C of the files of a form, by path, of the recordings that stay and were labelled.

        Raises:
            UsageError: the earlier output does not know them.
        """
        if not (paths := self.kept_paths):
            return {}
        base = self.bases[LABELS]
        if form not in base.checksums:
            raise UsageError(
                f"what made the output that is there kept no checksums of its {form} files, so that it is not known "
                "whether they are as they were written; --overwrite scores everything anew"
            )
        places = pc.index_in(pa.array(paths, pa.string()), value_set=base.files["path"]).to_numpy()
        return dict(zip(paths, base.checksums[form][places].tolist(), strict=True))

    def manifest(
        self, files: pa.Table, tables: Mapping[str, TableOutput], written: Mapping[str, Mapping[str, int]]
    ) -> OutputManifest:
        """Returns the manifest of complete tables.

        Args:
            files: of `FILES_SCHEMA`, all recordings in their order.
            tables: by their names.
            written: CRC-32C of the files of recordings that were written, by their form and the recording's path.
        """
        extents = {}
        for name, table in tables.items():
            extents[name] = table.extents(files["path"])
            if name in self.bases:
                base = self.bases[name]
                numbers = pc.index_in(self.kept["path"], value_set=base.files["path"]).to_numpy()
                places = pc.index_in(self.kept["path"], value_set=files["path"]).to_numpy()
                extents[name][places] = base.extents[name][numbers]
        paths, checksums = files["path"].to_pylist() if written else [], {}
        for form, found in written.items():
            known = {**self.checksums(form), **found}
            checksums[form] = np.array([known.get(path, -1) for path in paths], np.int64)
        made = {name: table.written for name, table in tables.items()}
        return OutputManifest(self.settings, made, files, extents, checksums)


def recording_states(source: Source) -> pa.Table:
    """Returns the columns `STATE` of what was listed; a recording that is listed as a reject too has no size."""
    clips, texts = source.clips, pa.nulls(len(source.clips), pa.string())
    if source.kept is not None and source.kept.num_columns:
        columns = [column.cast(pa.string()).fill_null("") for column in source.kept.columns]
        texts = pc.binary_join_element_wise(*columns, _BETWEEN)
    refused = pc.is_in(clips["path"], value_set=pa.array([reject.path for reject in source.rejects], pa.string()))
    sizes = pc.if_else(refused, pa.scalar(None, pa.int64()), clips["size"])
    columns = [clips["path"], sizes, clips["mtime_ns"], clips["version"], texts]
    return pa.table(columns, schema=pa.schema([FILES_SCHEMA.field(name) for name in STATE]))


def find_increment(
    source: Source, settings: Settings, tables: Mapping[str, str], manifest: str, parts: Location
) -> Increment:
    """Finds out what stays of the output that is there, and what is scored.

    Args:
        source: what was listed.
        settings: all that the tables follow from besides the recordings.
        tables: where each table lies, by its name; the labels among them.
        manifest: of the output that is there.
        parts: the folder in which an interrupted run may have left others.

    Raises:
        UsageError: the output that is there is not of these settings, or is not as it was written.
    """
    increment = everything(source, settings)
    if not exists(tables[LABELS]):
        return increment
    found = _manifests(manifest, parts)
    bases = {name: _base(name, place, settings, found) for name, place in tables.items()}
    earlier = list({id(base): base for base in bases.values()}.values())
    states = recording_states(source)
    stays = np.ones(len(states), np.bool_)
    for base in earlier:
        stays &= unchanged(states, _lasting(base.files))
    kept = earlier[0].files.filter(pc.is_in(earlier[0].files["path"], value_set=states["path"].filter(pa.array(stays))))
    removed = len(earlier[0].files) - int(pc.is_in(earlier[0].files["path"], value_set=states["path"]).to_numpy().sum())
    return replace(
        increment,
        source=_some(source, ~stays),
        kept=kept,
        bases=bases,
        removed=removed,
        finished=bool(stays.all()) and not removed and len(earlier) == 1 and _is_at(manifest, earlier[0]),
    )


def everything(source: Source, settings: Settings) -> Increment:
    """Returns that all is scored, whatever is there."""
    return Increment(source, settings, source.clips["path"], FILES_SCHEMA.empty_table())


def is_ours(manifest: str, parts: Location) -> bool:
    """Returns whether there is a manifest, which may be of an output that is there."""
    return exists(manifest) or bool(manifests_in(parts))


def _manifests(manifest: str, parts: Location) -> list[OutputManifest]:
    """Returns what the manifests say that may be of an output that is there."""
    found: list[OutputManifest] = []
    for candidate in (manifest, *manifests_in(parts)):
        try:
            found.append(read_output_manifest(candidate))
        except FileNotFoundError:
            continue
        except ValueError as error:
            LOG.warning("%s is %s, and is passed over", candidate, error)
    return found


def _base(name: str, place: str, settings: Settings, found: Sequence[OutputManifest]) -> OutputManifest:
    """Returns the manifest of a table as it is there."""
    anew = "--overwrite scores everything anew; or give another --output"
    try:
        now = written_at(place)
    except FileNotFoundError as error:
        raise UsageError(f"{place} is not there, and the output that it belongs to is; {anew}") from error
    for base in found:
        if base.tables.get(name) == now:
            if differing := differences(base.settings, settings):
                more = (
                    f"; and {len(differing) - _SHOWN_DIFFERENCES} more" if len(differing) > _SHOWN_DIFFERENCES else ""
                )
                raise UsageError(f"{place} was made otherwise, and cannot be gone on from: "
                                 f"{'; '.join(differing[:_SHOWN_DIFFERENCES])}{more}. {anew}")  # fmt: skip
            return base
    if not found:
        raise UsageError(f"{place} exists, and nothing beside it says what made it; {anew}")
    raise UsageError(f"{place} is not as score has written it: somebody has changed it since; {anew}")


def _lasting(files: pa.Table) -> pa.Table:
    """Returns the recordings without the rejects that time may heal."""
    healing = pc.is_in(files["reason"], value_set=pa.array([str(reason) for reason in RETRYABLE]))
    return files.filter(pc.invert(healing))


def _some(source: Source, wanted: NDArray[np.bool_]) -> Source:
    mask = pa.array(wanted)
    kept = None if source.kept is None else source.kept.filter(mask)
    return replace(source, clips=source.clips.filter(mask), kept=kept)


def _is_at(manifest: str, base: OutputManifest) -> bool:
    try:
        return read_output_manifest(manifest).tables == base.tables
    except (FileNotFoundError, ValueError):
        return False
