"""featurize and score as jobs: what is asked for, what they leave, and which of their units are finished."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from features.sources.partition import PARTITIONS
from features.store.layout import MANIFEST, Layout
from features.store.manifest import load_manifest
from tests.conftest import files_below

Identity = tuple[int, int]


@dataclass(frozen=True)
class Job:
    """One command.

    Attributes:
        module: of the command.
        arguments: all but its output.
        output: where that goes.
    """

    module: str
    arguments: tuple[object, ...]
    output: Path

    @property
    def words(self) -> tuple[object, ...]:
        """Its arguments."""
        return (*self.arguments, "--output", self.output)

    def finished(self) -> dict[Path, Identity]:
        """The notes of the units that are finished, with what tells a file from one that is written anew."""
        place, pattern = self._units
        found = {}
        for path in files_below(place, pattern):
            with contextlib.suppress(FileNotFoundError):  # score takes them away when it is done
                state = path.stat()
                found[path] = state.st_ino, state.st_mtime_ns
        return found

    @property
    def _units(self) -> tuple[Path, str]:
        if self.module == "pipelines.featurize":
            return self.output / "reports", "*.parquet"
        return self.output.with_name(f"{self.output.name}.parts"), "0*.part"

    def content(self) -> dict[str, bytes]:
        """All that it has made, by name."""
        if self.module == "pipelines.featurize":
            return set_files(self.output)
        before = self.output.with_suffix("")
        return {end: Path(f"{before}{end}").read_bytes() for end in (".csv", ".rejects.csv", ".warnings.csv")}

    def partial(self) -> list[Path]:
        """Files that are not finished."""
        return files_below(self.output.parent, "*.partial")


def set_files(folder: Path) -> dict[str, bytes]:
    """Returns all files that the state of a feature set names, and the manifest."""
    manifest = load_manifest(folder)
    layout = Layout(folder, manifest.storage_format)
    shards = list(manifest.shards(PARTITIONS))
    paths = [path for shard in shards for path in (layout.shard(shard.name), layout.report(shard.name))]
    paths += [folder / name for name in (MANIFEST, str(manifest.clips_file), manifest.rejects_file)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


MakeJob = Callable[[str, Path], Job]
"""From `featurize` or `score` and a folder to the job that writes there."""
