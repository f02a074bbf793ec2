"""How a table of labels was made, by the manifest that score leaves beside it, and what could not be used."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.errors import Reject, one_line
from features.io.filesystem import exists, place
from features.runtime.log import LOG
from features.sources.paths import absolute_path, csv_path
from features.sources.rejects import read_csv
from model.labels.earlier_table import written_at
from model.labels.output import LABELS
from model.labels.output_manifest import OutputManifest, read_output_manifest
from model.scoring.output_files import OutputFiles

_MOST_EXAMPLES = 3


@dataclass(frozen=True, eq=False)
class HowScored:
    """What lies beside a table of labels.

    Attributes:
        manifest: what made the table as it is; None where none does, or the table has been changed since.
        why_none: why there is no manifest, for people; empty where there is one.
        rejects: files that could not be used, by their reasons; None where no table of them is there.
        warnings: files that were labelled although they have a warning, likewise.
    """

    manifest: OutputManifest | None
    why_none: str
    rejects: list[dict[str, Any]] | None
    warnings: list[dict[str, Any]] | None

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the scoring, none where they are not known."""
        return {} if self.manifest is None else self.manifest.settings

    @property
    def root(self) -> str | None:
        """The folder in which paths begin, or the file or table that was the input; None where that is not known."""
        settings = self.settings
        return settings.get("root") or settings.get("input")

    @property
    def seconds(self) -> float | None:
        """How long all recordings are that were used; None where that is not known."""
        if self.manifest is None:
            return None
        files = self.manifest.files
        seconds = files["seconds"].filter(files["reason"].is_null()).drop_null().to_numpy()
        return float(np.sum(seconds))

    @property
    def num_files(self) -> int | None:
        """How many recordings were used; None where that is not known."""
        return None if self.manifest is None else int(self.manifest.files["reason"].null_count)

    def states(self, paths: Sequence[str], source: str | None) -> dict[str, tuple[int, int | None]]:
        """Returns size and modification time of some recordings when they were scored, as far as these are known.

        Args:
            paths: of the recordings, escaped.
            source: where they are now; of another place than that which was scored the times say nothing. None for it.
        """
        if self.manifest is None:
            return {}
        import pyarrow as pa
        import pyarrow.compute as pc

        files = self.manifest.files
        files = files.filter(pc.is_in(files["path"], value_set=pa.array(paths, pa.string())))
        is_there = source is None or absolute_path(source) == self.root
        rows = files.select(["path", "size", "mtime_ns"]).to_pylist()
        return {row["path"]: (row["size"], row["mtime_ns"] if is_there else None)
                for row in rows if row["size"] is not None}  # fmt: skip

    def described(self) -> list[tuple[str, str]]:
        """Returns the settings as they are shown: names and values."""
        settings = self.settings
        if not settings:
            return []
        labels, windowing = settings.get("labels") or {}, settings.get("windowing") or {}
        thresholds = labels.get("thresholds")
        columns = settings.get("columns") or {}
        versions = settings.get("versions") or {}
        rows = [
            ("Input", settings.get("input")),
            ("Labels", f"{len(labels.get('classes') or [])}: {', '.join((labels.get('classes') or [])[:40])}"
             + (", …" if len(labels.get("classes") or []) > 40 else "")),
            ("Labels a window (--top)", labels.get("top")),
            ("Threshold (--threshold)", _thresholds_text(thresholds)),
            ("From window to window, samples (--hop-seconds)", windowing.get("hop_samples")),
            ("Last window (--tail)", windowing.get("tail")),
            ("Times of day from", "names and headers" if columns.get("start_time") else None),
            ("Time zone (--timezone)", columns.get("timezone")),
            ("Network, sha256", settings.get("network")),
            ("Front end, fingerprint", settings.get("spec")),
            ("Temperature", settings.get("temperature")),
            ("Run by", settings.get("executor")),
            ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ]  # fmt: skip
        return [(name, str(value)) for name, value in rows if value not in (None, "")]


def how_scored(labels: str) -> HowScored:
    """Reads what lies beside a table of labels; what is damaged there is passed over with a warning."""
    files = OutputFiles(labels)
    manifest, why_none = _manifest(files)
    return HowScored(manifest, why_none, _by_reason(files.rejects), _by_reason(files.warnings))


def _manifest(files: OutputFiles) -> tuple[OutputManifest | None, str]:
    try:
        manifest = read_output_manifest(place(files.manifest))
    except FileNotFoundError:
        return None, f"no {files.manifest} lies beside the table"
    except (OSError, ValueError) as error:
        LOG.warning("%s is passed over: %s", files.manifest, one_line(error))
        return None, f"{files.manifest} cannot be read"
    if manifest.tables.get(LABELS) != written_at(place(files.labels)):
        return None, "the table is not as score has written it"
    return manifest, ""


def _thresholds_text(thresholds: Any) -> str:
    if not thresholds or not any(thresholds):
        return "none: each window has a line"
    own = sorted(set(thresholds))
    return f"{own[0]:g}" if len(own) == 1 else f"{own[0]:.3g} to {own[-1]:.3g}, each label its own"


def _by_reason(table: str) -> list[dict[str, Any]] | None:
    """Returns how many files a table of rejects or warnings has of each reason, the most frequent first."""
    if not exists(table):
        return None
    try:
        return _counted(read_csv(place(table)))
    except (OSError, ValueError) as error:
        LOG.warning("%s is passed over: %s", table, one_line(error))
        return None


def _counted(rejects: Iterable[Reject]) -> list[dict[str, Any]]:
    counts: Counter[str] = Counter()
    examples: dict[str, list[dict[str, str]]] = {}
    for reject in rejects:
        counts[reject.reason] += 1
        of_reason = examples.setdefault(reject.reason, [])
        if len(of_reason) < _MOST_EXAMPLES:
            of_reason.append({"path": csv_path(reject.path), "message": reject.message})
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [{"reason": reason, "count": count, "examples": examples[reason]} for reason, count in ordered]
