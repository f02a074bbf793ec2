"""Scoring what lies in an object store gives the bytes that scoring it in folders gives."""

import json
from pathlib import Path

import pytest
import soundfile

from features.errors import RunError, UsageError
from features.io.filesystem import filesystem_of
from model.scoring.request import Request
from model.scoring.scorer import score
from pipelines.local.units import LocalRun
from pipelines.score import label
from tests.conftest import call
from tests.object_store.faults import Faults, proxy
from tests.object_store.upload import upload
from tests.pipelines.conftest import files_of
from tests.signals import noise, write_wav

LONG_SECONDS = 258  # windows of a second, more than a batch
CODED_SECONDS = 90  # more than is read at once


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Short recordings, one of two batches, what another process decodes, and what cannot be used."""
    root = tmp_path_factory.mktemp("recordings")
    for number in range(20):
        write_wav(root / "a" / f"{number}.wav", noise(16_000 + 500 * number, seed=number))
    write_wav(root / "long.wav", noise(16_000 * LONG_SECONDS, seed=30))
    soundfile.write(root / "long.flac", noise(16_000 * CODED_SECONDS, seed=31), 16_000)
    soundfile.write(root / "b.mp3", noise(40_000, seed=32), 16_000)
    (root / "broken.wav").write_bytes(b"no sound")
    (root / "empty.wav").write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def labelled(recordings, untrained, tmp_path_factory) -> Path:
    """The labels of the recordings in their folder."""
    output = tmp_path_factory.mktemp("labelled") / "labels.csv"
    assert call("pipelines.score", "--model", untrained, "--input", recordings, "--output", output) == 0
    return output


def beside(path: Path) -> dict[str, bytes]:
    return {name: path.with_suffix(name).read_bytes() for name in (".csv", ".rejects.csv", ".warnings.csv")}


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.trial), 2])
def test_objects_have_the_labels_of_files(recordings, labelled, untrained, s3, tmp_path, workers, capsys):
    uri, model, output = upload(recordings, f"{s3.uri}/in"), upload(untrained, f"{s3.uri}/model"), f"{s3.uri}/out/x.csv"
    options = ("--model", model, "--input", uri, "--output", output, "--workers", workers)
    assert call("pipelines.score", *options) == 0
    said = capsys.readouterr().out
    assert f"The labels are in {output}" in said
    assert f"each with its reason in {s3.uri}/out/x.rejects.csv" in said
    store = filesystem_of(output)
    there = {f".{name.partition('.')[2]}": store.read(f"{s3.uri}/out/{name}") for name in names(s3)}
    assert there.pop(".csv.manifest.parquet")
    assert there == beside(labelled), "and no part is left"
    # A recording that is moved is another one; none of the others is read.
    store.write(f"{uri}/a/30.wav", (recordings / "a" / "3.wav").read_bytes())
    store.delete(f"{uri}/a/3.wav")
    assert call("pipelines.score", *options, "--summary", tmp_path / "summary.json") == 0
    assert store.read(output) == labelled.read_bytes().replace(b"a/3.wav,", b"a/30.wav,")
    figures = json.loads((tmp_path / "summary.json").read_text())
    assert (figures["kept"], figures["removed"], figures["files"]) == (24, 1, 25)
    store.write(output, store.read(output) + b"\n")
    with pytest.raises(UsageError, match=f"{output} is not as score has written it"):
        call("pipelines.score", *options)


def names(s3) -> list[str]:
    return [entry.path.rpartition("/")[2] for entry in filesystem_of(s3.uri).list(f"{s3.uri}/out")]


def test_parts_in_a_store_are_taken_up_again_and_one_score_writes_them(recordings, labelled, untrained, s3):
    output = f"{s3.uri}/out/x.csv"
    request, batches = Request(str(untrained), str(recordings), output), []

    def begin(job, windows):
        network = job.load_network()
        for number in list(windows)[:2]:
            job.write(number, job.label(network, number))
        batches.extend(windows)
        with pytest.raises(UsageError, match=rf"one score at a time may write {output}, and another \(process \d+ on"):
            score(request, begin)
        raise RunError("killed")

    def finish(job, windows):
        assert list(windows) == batches[2:], "two are there"
        label(job, windows, local=LocalRun(1, None))

    with pytest.raises(RunError, match="killed"):
        score(request, begin)
    assert "x.csv" not in names(s3)
    filesystem_of(output).write(f"{output}.parts/thesis.txt", b"")
    with pytest.raises(UsageError, match=r"x\.csv\.parts is in the way"):
        score(request, finish)
    filesystem_of(output).delete(f"{output}.parts/thesis.txt")
    score(request, finish)
    assert filesystem_of(output).read(output) == labelled.read_bytes()
    assert sorted(names(s3)) == ["x.csv", "x.csv.manifest.parquet", "x.rejects.csv", "x.warnings.csv"]


def test_cut_outs_and_known_features_of_objects_are_those_of_files(recordings, untrained, s3, tmp_path):
    spec = ("--preset", "speech-commands", "--label-pattern", "(?P<label>a)/")
    features = f"{s3.uri}/set"
    assert call("pipelines.featurize", "--input", recordings, "--output", features, *spec) == 0
    for name, root in (("files", recordings), ("objects", upload(recordings, f"{s3.uri}/in"))):
        (tmp_path / name).mkdir()
        options = ("--clips", tmp_path / name / "clips", "--per-class", 5, "--summary", tmp_path / f"{name}.json",
                   *(("--features", features) if name == "objects" else ()))  # fmt: skip
        output = tmp_path / name / "labels.csv"
        assert call("pipelines.score", "--model", untrained, "--input", root, "--output", output, *options) == 0
    files, objects = (files_of(tmp_path / name / "clips") for name in ("files", "objects"))
    assert len(files) > 15
    assert files == objects
    assert (tmp_path / "files" / "labels.csv").read_bytes() == (tmp_path / "objects" / "labels.csv").read_bytes()
    assert json.loads((tmp_path / "objects.json").read_text())["known_features"] == 1, (
        "the others are longer than a window"
    )


def test_the_store_is_asked_once_for_a_short_recording(recordings, untrained, s3, tmp_path, monkeypatch):
    upload(recordings / "a", f"{s3.uri}/a")
    faults = Faults()
    with proxy(s3.endpoint, faults) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        filesystem_of(s3.uri).__dict__.pop("_store", None)
        options = ("--model", untrained, "--input", f"{s3.uri}/a", "--output", tmp_path / "labels.csv")
        assert call("pipelines.score", *options, "--workers", 1) == 0
    probes = 3 + 1  # of the driver, and the one by which a worker proves that it sees them too
    assert faults.requests["GET"] <= 2 * 20 + 3 + probes, "its header to plan, and all of it; and the listing"
    assert faults.requests["HEAD"] <= probes


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("pipelines.demo", ()),
        ("pipelines.download", ("mini-speech-commands",)),
        ("model.tune", ("--features", "set", "--trials", 1)),
        ("model.export", ("--model", "run")),
        ("model.crossvalidate", ("--features", "set", "--splits", 2)),
    ],
)
def test_what_writes_to_this_machine_alone_says_so(module, options):
    with pytest.raises(UsageError, match="--output is a place on this machine, not s3://bucket/x; give a path"):
        call(module, *options, "--output", "s3://bucket/x")
