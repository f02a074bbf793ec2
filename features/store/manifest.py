"""The committed state of a feature set: what is in it, and where it came from."""

import itertools
import json
import os
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.errors import UsageError
from features.frontend.spec import FeatureSpec
from features.io.entry import AnyPath
from features.io.filesystem import filesystem_of, place
from features.runtime.invocation import command_line
from features.sources.paths import escape_path
from features.sources.table_rows import is_text
from features.store.decoders import UNKNOWN
from features.store.layout import MANIFEST, Layout, earlier_states, is_own, manifest_path
from features.store.shards import Shard
from features.store.statistics import Statistics

FORMAT_NAME = "soundmill-features"
# Version 1: offsets in the clips table are those of records, and rejects say nothing of the files.
# Versions 1 and 2: the clips table does not say which decoder read a clip.
# Versions 1 to 3: the tables know no versions of objects. What has none is still written as version 3.
# Versions 1 to 4: the front end has no network. What has none is still written as version 3 or 4.
# Versions 1 to 5: no reviews have corrected the clips, which an earlier soundmill would undo. What has none is still
# written as one of these.
# Versions 1 to 6: the clips table is one file. Where it fits one, it still is, and the version is one of these.
FORMAT_VERSION = 7
FILES_FORMAT_VERSION, OBJECTS_FORMAT_VERSION, NETWORK_FORMAT_VERSION, CORRECTIONS_FORMAT_VERSION = 3, 4, 5, 6
_READABLE = (1, 2, 3, 4, 5, 6, 7)
_OPTIONAL = ("network", "corrections", "clips_parts")  # not written where there is none


@dataclass(frozen=True)
class Provenance:
    """Where the clips of a state come from, what chose and corrected them, and whose network is their front end.

    Attributes:
        policies: what was done with clips that have a warning.
        source: kind and root of the source.
        options: what chose and divided the clips: group, split, limit.
        network: see `Manifest`.
        corrections: see `Manifest`.
    """

    policies: dict[str, str]
    source: dict[str, str]
    options: dict[str, Any]
    network: dict[str, Any] | None = None
    corrections: dict[str, Any] | None = None


@dataclass(frozen=True)
class ClipsPart:
    """A file of the clips table, which has the rows of whole shards.

    Attributes:
        file: its name.
        rows: number of its rows.
    """

    file: str
    rows: int


@dataclass(frozen=True)
class Manifest:
    """A feature set as it was committed.

    Attributes:
        state: number of the commit, from 1.
        spec: the front end.
        storage_format: `tfrecord` or `parquet`.
        policies: what was done with clips that have a warning.
        source: kind and root of the source.
        options: what chose and divided the clips: group, split, limit.
        classes: sorted labels; a label's place is its id.
        partitions: shards by partition, in planned order.
        statistics: sums by partition.
        counts: clips by class and partition, and by decoder; rejects by reason, hours.
        clips_file: name of the clips table, None where that is several files.
        rejects_file: name of the table of rejects.
        versions: of the libraries that made it.
        format_version: of the manifest and its tables.
        network: of a spec with a network: `file` in the folder of networks, the `name` that the file had, its
            `bytes`, and its `licence` and `source` as they were given, null where they were not. None without one.
        corrections: `files`, the reviews that corrected the clips, each with its `path` and `sha256`, and by these the
            number of clips that were `relabelled`, `left_out`, `added` or found `right`. None without reviews.
        clips_parts: the files of a clips table that is several, in the order of the shards; None where it is one.
    """

    state: int
    spec: FeatureSpec
    storage_format: str
    policies: dict[str, str]
    source: dict[str, str]
    options: dict[str, Any]
    classes: list[str]
    partitions: dict[str, list[Shard]]
    statistics: dict[str, Statistics]
    counts: dict[str, Any]
    clips_file: str | None
    rejects_file: str
    versions: dict[str, str]
    format_version: int = FORMAT_VERSION
    network: dict[str, Any] | None = None
    corrections: dict[str, Any] | None = None
    clips_parts: list[ClipsPart] | None = None

    def layout(self, folder: AnyPath) -> Layout:
        """Returns where the files of the set lie that has this state."""
        return Layout(place(folder), self.storage_format)

    @property
    def provenance(self) -> Provenance:
        """Where the clips come from, what chose and corrected them, and whose network is their front end."""
        return Provenance(self.policies, self.source, self.options, self.network, self.corrections)

    def rows(self, partitions: Iterable[str]) -> int:
        """Returns the number of rows of a union of partitions."""
        return sum(shard.rows for shard in self.shards(partitions))

    def shards(self, partitions: Iterable[str]) -> list[Shard]:
        """Returns the shards of a union of partitions in manifest order; raises `UsageError` for an unknown one."""
        wanted = set(partitions)
        unknown = sorted(wanted - set(self.partitions))
        if unknown:
            raise UsageError(f"no partition {unknown[0]!r} in the features; there are {', '.join(self.partitions)}")
        return [shard for name, shards in self.partitions.items() if name in wanted for shard in shards]

    @property
    def all_shards(self) -> list[Shard]:
        """The shards of all partitions, in manifest order."""
        return [shard for shards in self.partitions.values() for shard in shards]

    @property
    def clips_tables(self) -> list[ClipsPart]:
        """The files of the clips table, in the order of the shards: one, or `clips_parts`."""
        if self.clips_file is None:
            return self.clips_parts or []
        return [ClipsPart(self.clips_file, self.counts["clips"])]

    @property
    def shards_by_table(self) -> list[list[Shard]]:
        """The shards whose rows are in each of `clips_tables`."""
        shards = self.all_shards
        if self.clips_file is not None:
            return [shards]
        ends = list(itertools.accumulate(shard.rows for shard in shards))
        lasts = list(itertools.accumulate(part.rows for part in self.clips_tables))
        places = [0, *(bisect_left(ends, last) + 1 for last in lasts)]
        return [shards[first:end] for first, end in itertools.pairwise(places)]

    @property
    def decoders(self) -> dict[str, int]:
        """Number of clips by what read them; versions before 3 do not know."""
        decoders: dict[str, int] = self.counts.get("decoders", {UNKNOWN: self.counts["clips"]})
        return decoders

    def to_json(self) -> str:
        """Returns the file's content."""
        content: dict[str, Any] = {
            "format": FORMAT_NAME,
            "format_version": self.format_version,
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "spec": self.spec.to_dict(),
            "fingerprint": self.spec.fingerprint,
            "shape": self.spec.shape,  # of a row, for readers that do not derive it
            "partitions": {name: [vars(shard) for shard in shards] for name, shards in self.partitions.items()},
            "clips_parts": self.clips_parts and [vars(part) for part in self.clips_parts],
            "statistics": {name: statistics.to_dict() for name, statistics in self.statistics.items()},
        }
        content = {name: value for name, value in content.items() if name not in _OPTIONAL or value is not None}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> "Manifest":
        """Reads the file's content; raises `UsageError` where it is not one of a known version."""
        try:
            content = json.loads(text)
            if content.pop("format") != FORMAT_NAME:
                raise ValueError("another format")
            version, fingerprint = content["format_version"], content.pop("fingerprint")
            del content["shape"]
            if version not in _READABLE:
                first, last = _READABLE[0], _READABLE[-1]
                raise UsageError(
                    f"{where} has format version {version}; this soundmill reads versions {first} to {last}"
                )
            content["spec"] = FeatureSpec.from_dict(content["spec"], where=where)
            content["partitions"] = {
                name: [Shard(**shard) for shard in shards] for name, shards in content["partitions"].items()
            }
            content["statistics"] = {name: Statistics.from_dict(sums) for name, sums in content["statistics"].items()}
            parts = content.get("clips_parts")
            content["clips_parts"] = parts and [ClipsPart(**part) for part in parts]
            manifest = cls(**content)
            manifest._check_parts()
            if (manifest.network or {}).get("file") != manifest.spec.network_name:
                raise ValueError("its network is not that of its spec")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{where} is not the manifest of a feature set: {error!r}") from error
        if manifest.spec.fingerprint != fingerprint:
            raise UsageError(
                f"the features of {where} come from another version of the front end; featurize into a new folder"
            )
        return manifest

    def _check_parts(self) -> None:
        """Raises `ValueError` where the table is no file or several ones that do not have the rows of whole shards."""
        if (self.clips_file is None) != bool(self.clips_parts):
            raise ValueError("its clips table is neither one file nor several")
        held = self.shards_by_table
        rows = [sum(shard.rows for shard in shards) for shards in held]
        whole = sum(map(len, held)) == len(self.all_shards)
        if self.clips_parts and not (whole and rows == [part.rows for part in self.clips_parts]):
            raise ValueError("the files of its clips table do not have the rows of whole shards")


def check_text(values: Iterable[str]) -> None:
    """Raises `UsageError` for the name of a source or an option that no manifest can hold."""
    for value in values:
        if not is_text(value):
            shown = escape_path(os.fsencode(value))
            raise UsageError(f"what a manifest names is UTF-8, and {shown} is not; rename it, or give a link to it "
                             "that has another name")  # fmt: skip


def load_manifest(folder: AnyPath) -> Manifest:
    """Reads the committed state of a feature set; raises `UsageError` where the folder holds none."""
    manifest = _committed(folder)
    if manifest is not None:
        return manifest
    if not _is_folder(folder):
        raise UsageError(f"no such feature set: {folder}; make it with {command_line('pipelines.featurize')}")
    raise UsageError(
        f"{folder} is not a complete feature set: it has no {MANIFEST}. If featurize was interrupted, run it again"
    )


def _committed(folder: AnyPath) -> Manifest | None:
    """Reads the committed state, None where there is none; in a store that is one request."""
    path = manifest_path(folder)
    try:
        text = filesystem_of(path).read(path).decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    return Manifest.from_json(text, str(path))


def _is_folder(folder: AnyPath) -> bool:
    """Returns whether there is a folder; in a store there is one where something is in it."""
    files = filesystem_of(folder)
    return Path(folder).is_dir() if files.is_local else next(iter(files.list(folder)), None) is not None


def existing_manifest(folder: AnyPath) -> Manifest | None:
    """Returns the state that a run would bring up to date, None for a new or interrupted set.

    Raises:
        UsageError: the folder holds something else.
    """
    folder = place(folder)
    manifest = _committed(folder)
    if manifest is not None:
        return manifest
    if isinstance(folder, Path):
        if not folder.exists():
            return None
        if not folder.is_dir():
            raise UsageError(f"{folder} is a file; the output of featurize is a folder")
        names: Iterable[str] = sorted(os.listdir(folder))
    else:
        listed = filesystem_of(folder).list(folder)
        names = (entry.path[len(folder) + 1 :].partition("/")[0] for entry in listed)
    foreign = next((name for name in names if not is_own(name)), None)
    if foreign is not None:
        raise UsageError(f"{folder} is not a feature set (it holds {foreign}); give a new or an empty folder")
    return None


def ways_back(folder: AnyPath) -> str:
    """Returns what can be done where the state of a set is damaged."""
    earlier = earlier_states(folder)
    back = f"go back to an earlier state (copy {earlier[-1]} over {manifest_path(folder)}), or " if earlier else ""
    return f"features.verify --repair cannot make it again; {back}featurize into a new folder"
