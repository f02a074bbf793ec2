"""Manifests and annotated recordings in an object store are what they are in a folder."""

import json

from features.sources.formats.annotated import Annotated, scan_annotated
from features.sources.formats.lhotse import scan_lhotse
from features.sources.formats.nemo import scan_nemo
from features.sources.formats.window_grid import WindowGrid
from features.sources.table_layout import TableLayout
from tests.features.sources.formats.sounds import clips_of, write_sounds
from tests.object_store.upload import upload


def test_what_lies_in_a_store_gives_the_clips_of_a_folder(tmp_path, s3):
    root = write_sounds(tmp_path / "corpus")
    lines = [
        {"audio_filepath": f"sounds/{name}.wav", "offset": 0.5, "duration": 0.25, "label": name}
        for name in ("mono", "rate")
    ]
    (root / "x.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    files = {name: {"type": "file", "channels": [0], "source": f"sounds/{name}.wav"} for name in ("mono", "rate")}
    recordings = [{"id": name, "sampling_rate": 8000, "sources": [file]} for name, file in files.items()]
    (root / "recordings.jsonl").write_text("".join(json.dumps(line) + "\n" for line in recordings))
    said = {"id": "s", "recording_id": "rate", "start": 0.25, "duration": 0.5, "text": "owl"}
    (root / "supervisions.jsonl").write_text(json.dumps(said) + "\n")
    (tmp_path / "mono.txt").write_text("0.2\t0.9\towl\n")
    there = upload(root, f"{s3.uri}/corpus")
    layout, grid = TableLayout(), WindowGrid(8000, 8000)
    for scan in (
        lambda place: scan_nemo(f"{place}/x.json", layout),
        lambda place: scan_lhotse(f"{place}/recordings.jsonl", layout, "mean"),
        lambda place: scan_annotated(f"{place}/sounds", layout, Annotated(str(tmp_path / "mono.txt"), grid)),
    ):
        here, stored = scan(str(root)), scan(there)
        assert clips_of(stored) == clips_of(here)
        assert len(here.clips) and stored.clips["version"].null_count == 0
    uris = [{**line, "audio_filepath": f"{there}/{line['audio_filepath']}"} for line in lines]
    (root / "uris.json").write_text("".join(json.dumps(line) + "\n" for line in uris))
    assert len(scan_nemo(str(root / "uris.json"), layout).clips) == 2
