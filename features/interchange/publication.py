"""A feature set published as a folder in the layout of another library, whole or not there."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from features.errors import UsageError
from features.interchange.audiofolder import CLIP_COLUMNS, REJECTS, write_audiofolder
from features.interchange.dataset_card import CARD, dataset_card
from features.interchange.huggingface import write_huggingface
from features.interchange.placing import WAYS
from features.interchange.tfds import write_tfds
from features.interchange.written import CARD_COLUMNS, START_COLUMN, SourceSet, Written
from features.io.atomic import atomic_folder
from features.io.filesystem import Location, is_uri
from features.store.clips_table import read_clips
from features.store.manifest import load_manifest

_MARK = "publication.json"
_FORMAT = "soundmill-publication"
_PATTERN = frozenset("*?[")
LAYOUTS: dict[str, Callable[[SourceSet, Path], Written]] = {
    "tfds": write_tfds,
    "huggingface": write_huggingface,
    "audiofolder": write_audiofolder,
}


def publish(features: Location, output: str, layout: str, overwrite: bool = False) -> dict[str, Any]:
    """Lays the committed state of a feature set out for another library.

    Args:
        features: the set.
        output: the folder to write.
        layout: one of `LAYOUTS`.
        overwrite: whether a publication that stands there is replaced.

    Returns:
        The figures of the publication.

    Raises:
        UsageError: there is no such set, it has no clips, or the output is something that has to stay.
        RunError: a shard is missing or damaged, none of the sounds can be published, or the disk is full.
    """
    started = time.monotonic()
    manifest = load_manifest(features)
    kept = [features, *([manifest.source["root"]] if layout == "audiofolder" else [])]
    final = _check_output(output, overwrite, [Path(place) for place in kept if not is_uri(place)])
    if layout != "tfds" and _PATTERN.intersection(str(final)):
        characters = " ".join(sorted(_PATTERN))
        raise UsageError(f"datasets takes {characters} in a path for a pattern and cannot open {final}; give an "
                         "--output without them")  # fmt: skip
    if not manifest.counts["clips"]:
        raise UsageError(f"{features} has no clips to publish")
    columns = dict.fromkeys([*CARD_COLUMNS, *(CLIP_COLUMNS if layout == "audiofolder" else [START_COLUMN])])
    clips = read_clips(manifest.layout(features), manifest, list(columns))
    source = SourceSet(manifest.layout(features), manifest, clips, final.name)
    with atomic_folder(final) as folder:
        written = LAYOUTS[layout](source, folder)
        written.write(folder / CARD, dataset_card(source, layout, written))
        files = [file for file in folder.rglob("*") if file.is_file()]
        figures = {
            "layout": layout,
            "state": manifest.state,
            "fingerprint": manifest.spec.fingerprint,
            "clips": sum(written.rows.values()),
            "splits": dict(written.rows),
            "empty": source.empty,
            "files": {way: written.ways[way] for way in WAYS},
            "bytes": sum(file.stat().st_size for file in files),
            "rejected": len(written.rejects),
            "rejects": dict(written.reasons),
        }
        (folder / _MARK).write_text(json.dumps({"format": _FORMAT, **figures}, indent=1) + "\n")
    table = str(final / REJECTS) if written.rejects else None
    return {**figures, "rejects_table": table, "seconds": time.monotonic() - started}


def _check_output(output: str, overwrite: bool, kept: list[Path]) -> Path:
    """Returns the folder to write, without links.

    Args:
        output: as it was given.
        overwrite: whether a publication may be replaced.
        kept: folders that have to stay.

    Raises:
        UsageError: something stands there that has to stay.
    """
    folder = Path(os.path.realpath(output))
    for place in map(Path, map(os.path.realpath, kept)):
        if folder in (place, *place.parents) or place in folder.parents:
            raise UsageError(f"--output {output} and {place} are one within the other; give another --output")
    try:
        folder.name.encode()
    except UnicodeEncodeError as error:
        raise UsageError("the name of --output is that of the data set and not UTF-8; give another one") from error
    if not folder.exists():
        return folder
    if not _is_publication(folder):
        raise UsageError(f"{output} exists and is not a publication: it has no {_MARK} of soundmill's; give another "
                         "--output")  # fmt: skip
    if not overwrite:
        raise UsageError(f"{output} exists already; give another --output, or --overwrite to replace it")
    return folder


def _is_publication(folder: Path) -> bool:
    try:
        content = json.loads((folder / _MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == _FORMAT
