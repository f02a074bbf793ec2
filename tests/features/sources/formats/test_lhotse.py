"""Lhotse's manifests: files that lhotse wrote, compared with what it reads of them."""

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile

from features.errors import NothingUsableError, UsageError
from features.sources.formats.lhotse import scan_lhotse
from features.sources.listing import InputFormat, list_labelled
from features.sources.table_layout import TableLayout
from tests.features.sources.formats.sounds import clips_of, write_sounds
from tests.peers.library import ENVIRONMENTS, GOLDEN, is_installed

WRITE = Path(__file__).parents[3] / "peers" / "write_lhotse.py"
LIVE = pytest.mark.skipif(
    not is_installed("lhotse"), reason="lhotse is not set up: `make benchmark-peers` installs it, 5 GB"
)
MANIFESTS = ("cuts", "all_recordings", "all_supervisions")
NOT_CLIPS = ("Speed", "MixedCut")


@pytest.fixture(params=["golden", pytest.param("live", marks=[pytest.mark.trial, LIVE])], scope="module")
def written(request, tmp_path_factory):
    """The folder with the recordings, the manifests of lhotse, and what it reads from them."""
    tmp_path = write_sounds(tmp_path_factory.mktemp("lhotse"))
    if request.param == "golden":
        for path in (GOLDEN / "lhotse").iterdir():
            shutil.copy(path, tmp_path)
    else:
        python = ENVIRONMENTS / "lhotse" / "bin" / "python"
        subprocess.run([python, "-I", WRITE, "."], cwd=tmp_path, check=True)
    return tmp_path, json.loads((tmp_path / "read.json").read_text())


def is_clip(cut, channels="mean"):
    """Whether a clip can be made of what lhotse reads of a cut."""
    if cut["type"] in NOT_CLIPS or set(cut["transforms"]) & set(NOT_CLIPS) or len(cut["labels"]) > 1:
        return False
    return cut["is_multi"] or len(cut["channels"]) == 1 or channels == cut["channels"].index(cut["channel"]) + 1


@pytest.mark.parametrize("channels", ["mean", 2])
@pytest.mark.parametrize("manifest", MANIFESTS)
def test_clips_are_those_that_lhotse_reads(written, manifest, channels):
    folder, read = written
    cuts = read["cuts" if manifest == "cuts" else "supervisions"]
    source = scan_lhotse(str(folder / f"{manifest}.jsonl.gz"), TableLayout(), channels)
    expected = {
        (cut["file"], cut["first_sample"]): cut for cut in cuts if is_clip(cut, channels) and not cut["transforms"]
    }
    resampled = [cut for cut in cuts if cut.get("transforms") == ["Resample"]]
    assert len(source.clips) == len(expected) + len(resampled)
    assert len(source.rejects) == len(cuts) - len(source.clips)
    for path, start, duration, label, group in clips_of(source, "group"):
        cut = expected.pop((path, start), None)
        rate_hz = soundfile.info(folder / path).samplerate
        if cut is None:  # its times are those of the rate that lhotse would bring it to
            [cut] = resampled
            assert abs(start / rate_hz - cut["first_sample"] / cut["rate_hz"]) <= 1 / rate_hz
            assert abs(duration / rate_hz - cut["samples"] / cut["rate_hz"]) <= 1 / rate_hz
        else:
            assert (duration, rate_hz) == (cut["samples"], cut["rate_hz"])
            sound = soundfile.read(folder / path, start=start, frames=duration, always_2d=True)[0].T
            wanted = sound if cut["is_multi"] else sound[[cut["channel"]]]
            assert [[round(float(value), 6) for value in (*one[:3], *one[-3:])] for one in wanted] == cut["sound"]
        assert [label] == cut["labels"]
        assert [group] == (cut["speakers"] or [None])
    assert not expected


def test_lines_that_are_no_clips_say_why(written):
    folder, _ = written
    source = scan_lhotse(str(folder / "cuts.jsonl.gz"), TableLayout(), "mean")
    said = {reject.path: (reject.reason, reject.message) for reject in source.rejects}
    assert list(said) == [f"cuts.jsonl.gz, line {line}" for line in (5, 10, 11, 12)]
    [one_channel, two_labels, faster, mixed] = said.values()
    assert one_channel[0] == "bad_row" and one_channel[1].endswith("a spec with channels = 2 uses it")
    assert two_labels[0] == "bad_label" and "'owl' and 'wren'" in two_labels[1]
    assert "changes by 'Speed'" in faster[1]
    assert "a mix of cuts or padding" in mixed[1]


def test_fields_of_label_group_and_partition(written):
    folder, read = written
    layout = TableLayout(label_column="call", group_column="text", partition_column="split")
    source = scan_lhotse(str(folder / "all_supervisions.jsonl.gz"), layout, "mean")
    labels = {(path, start): (label, group, partition)
              for path, start, _, label, group, partition in clips_of(source, "group", "partition")}  # fmt: skip
    for cut in filter(is_clip, read["supervisions"]):
        number = int(cut["id"][-1])
        [label] = cut["labels"]
        assert labels.pop((cut["file"], cut["first_sample"])) == (
            label.upper(),
            label,
            "testing" if number else "training",
        )
    assert not labels
    columns = ("source", "call", "start", "duration", "text", "partition")
    assert source.columns == dict(
        zip(("path", "label", "start", "duration", "group", "partition"), columns, strict=True)
    )


def write_lines(path, *lines):
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return str(path)


def recording(name="mono", kind="file", source="sounds/{}.wav", **changed):
    source = {"type": kind, "channels": [0], "source": source and source.format(name)}
    return {
        "id": name,
        "sources": [source],
        "sampling_rate": 8000,
        "num_samples": 16007,
        "duration": 2.000875,
    } | changed


def cut(start=0.0, duration=1.0, label="owl", name="mono", **changed):
    supervision = {"id": "s", "recording_id": name, "start": 0.0, "duration": duration, "text": label}
    whole = {"id": "c", "start": start, "duration": duration, "channel": 0, "type": "MonoCut"}
    return whole | {"supervisions": [supervision], "recording": recording(name)} | changed


@pytest.mark.parametrize(
    ("line", "reason", "said"),
    [
        ({"id": "x"}, "bad_row", "not a cut, a recording or a supervision"),
        (cut(recording=None), "bad_row", "a cut without a recording"),
        (cut(supervisions=[]), "bad_label", "without a label: no supervision has 'text'"),
        (cut(supervisions=["x"]), "bad_row", "supervisions cannot be read"),
        (cut(start=None), "bad_row", "without a start in seconds"),
        (cut(duration="long"), "bad_row", "without a duration in seconds"),
        (cut(channel="left"), "bad_row", "channels that are not numbers: 'left'"),
        (cut(channel=3), "bad_row", "channels 3, which are in 0 of the 1 files"),
        (cut(recording=recording(sources=[])), "bad_row", "a recording without sources"),
        (cut(recording=recording(kind="command")), "bad_row", "'command'"),
        (cut(recording=recording(kind="memory", source=None)), "bad_row", "not a path"),
        (cut(-1.0), "bad_row", "a number of seconds not below 0, but 'start' is '-1'"),
        (cut(0.25, name="gone"), "missing", "No such file"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_used_is_a_reject_that_names_it(tmp_path, line, reason, said):
    write_sounds(tmp_path)
    manifest = write_lines(tmp_path / "cuts.jsonl.gz", cut(0.5, 0.5), line)
    source = scan_lhotse(manifest, TableLayout(), "mean")
    assert clips_of(source) == [("sounds/mono.wav", 4000, 4000, "owl")]
    [reject] = source.rejects
    assert reject.reason == reason
    assert said in reject.message
    assert "cuts.jsonl.gz, line 2" in (reject.path + reject.message)
    with pytest.raises(NothingUsableError):
        scan_lhotse(write_lines(tmp_path / "cuts.jsonl.gz", line), TableLayout(), "mean")


def test_a_channel_of_a_file_of_its_own_is_that_file(tmp_path):
    write_sounds(tmp_path)
    files = [{"type": "file", "channels": [0], "source": "sounds/mono.wav"},
             {"type": "file", "channels": [1], "source": "sounds/rate.wav"}]  # fmt: skip
    both = recording(sources=files)
    lines = [cut(channel=1, recording=both), cut(type="MultiCut", channel=[0, 1], recording=both)]
    source = scan_lhotse(write_lines(tmp_path / "cuts.jsonl.gz", *lines), TableLayout(), "mean")
    assert clips_of(source) == [("sounds/rate.wav", 0, 11_025, "owl")]
    assert "channels 0, 1, which are in 2 of the 2 files" in source.rejects[0].message


def test_an_end_that_was_rounded_is_that_of_the_file(tmp_path):
    write_sounds(tmp_path)
    lines = [cut(0.0, 2.02), cut(1.0, 1.05, "late")]
    source = scan_lhotse(write_lines(tmp_path / "cuts.jsonl.gz", *lines), TableLayout(), "mean")
    assert clips_of(source) == [("sounds/mono.wav", 0, 16_007, "owl"), ("sounds/mono.wav", 8000, 8400, "late")]


def test_a_folder_of_manifests_has_the_partitions_of_their_names(tmp_path):
    write_sounds(tmp_path)
    write_lines(tmp_path / "x_cuts_train-clean.jsonl.gz", cut(0.0, 0.5))
    write_lines(tmp_path / "x_cuts_dev.jsonl.gz", cut(0.5, 0.5, "wren"))
    source = scan_lhotse(str(tmp_path), TableLayout(), "mean")
    assert clips_of(source, "partition") == [
        ("sounds/mono.wav", 0, 4000, "owl", "training"),
        ("sounds/mono.wav", 4000, 4000, "wren", "validation"),
    ]
    assert "partition" not in scan_lhotse(str(tmp_path), TableLayout(), "mean", partitioned=False).clips.column_names
    write_lines(tmp_path / "more.jsonl.gz", cut(1.0, 0.5, "wren"))
    with pytest.raises(UsageError, match=r"that of more\.jsonl\.gz says none"):
        scan_lhotse(str(tmp_path), TableLayout(), "mean")


def test_what_is_not_a_data_set_is_refused(tmp_path):
    write_sounds(tmp_path)
    alone = write_lines(tmp_path / "recordings.jsonl.gz", recording())
    with pytest.raises(UsageError, match=r"no such file or folder: .*supervisions\.jsonl\.gz"):
        scan_lhotse(alone, TableLayout(), "mean")
    write_lines(tmp_path / "supervisions.jsonl.gz")
    with pytest.raises(UsageError, match="has recordings and no supervisions"):
        scan_lhotse(alone, TableLayout(), "mean")
    write_lines(
        tmp_path / "supervisions.jsonl.gz", {"id": "s", "recording_id": "gone", "start": 0, "duration": 1, "text": "a"}
    )
    with pytest.raises(NothingUsableError, match="of the recording 'gone', of which there is no manifest"):
        scan_lhotse(alone, TableLayout(), "mean")
    write_lines(tmp_path / "cuts.jsonl.gz", cut())
    with pytest.raises(UsageError, match="has cuts and recordings and supervisions, which say the same twice"):
        scan_lhotse(str(tmp_path), TableLayout(), "mean")
    with pytest.raises(UsageError, match="a path and a start name one clip"):
        scan_lhotse(write_lines(tmp_path / "cuts.jsonl.gz", cut(), cut(duration=0.5)), TableLayout(), "mean")
    with pytest.raises(UsageError, match="takes --root, --label-column, --group-column, --partition-column"):
        scan_lhotse(alone, TableLayout(start_column="start"), "mean")
    with pytest.raises(UsageError, match="its name ends in none of"):
        scan_lhotse(str(tmp_path / "cuts.yaml"), TableLayout(), "mean")
    (tmp_path / "torn.jsonl.gz").write_bytes(Path(alone).read_bytes()[:-9])
    with pytest.raises(UsageError, match=r"cannot read .*torn"):
        scan_lhotse(str(tmp_path / "torn.jsonl.gz"), TableLayout(), "mean")


def test_recordings_without_a_supervision_are_counted(tmp_path):
    write_sounds(tmp_path)
    manifest = write_lines(tmp_path / "recordings.jsonl.gz", recording(), recording("rate"))
    write_lines(
        tmp_path / "supervisions.jsonl.gz",
        {"id": "s", "recording_id": "mono", "start": 0.5, "duration": 1, "text": "a"},
    )
    source = list_labelled(manifest, TableLayout(), InputFormat("lhotse"))
    assert clips_of(source) == [("sounds/mono.wav", 4000, 8000, "a")]
    assert source.left_out == {"recordings without a supervision": 1}
    assert source.described == {"kind": "lhotse", "root": str(tmp_path), "table": manifest}
