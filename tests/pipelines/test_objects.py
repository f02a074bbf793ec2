"""Scoring what lies in an object store gives the bytes that scoring it in folders gives."""

from pathlib import Path

import pytest
import soundfile

from features.io.filesystem import filesystem_of
from tests.conftest import call
from tests.object_store.faults import Faults, proxy
from tests.object_store.upload import upload
from tests.signals import noise, write_wav

LONG_SECONDS = 300  # windows of a second, more than a batch


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Short recordings, two of several batches, what another process decodes, and what cannot be used."""
    root = tmp_path_factory.mktemp("recordings")
    for number in range(20):
        write_wav(root / "a" / f"{number}.wav", noise(16_000 + 500 * number, seed=number))
    write_wav(root / "long.wav", noise(16_000 * LONG_SECONDS, seed=30))
    soundfile.write(root / "long.flac", noise(16_000 * LONG_SECONDS, seed=31), 16_000)
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


@pytest.mark.parametrize("workers", [1, 2])
def test_objects_have_the_labels_of_files(recordings, labelled, untrained, s3, tmp_path, workers):
    uri, model = upload(recordings, f"{s3.uri}/in"), upload(untrained, f"{s3.uri}/model")
    output = tmp_path / "labels.csv"
    options = ("--model", model, "--input", uri, "--output", output, "--workers", workers)
    assert call("pipelines.score", *options) == 0
    assert beside(output) == beside(labelled)


def test_the_store_is_asked_once_for_a_short_recording(recordings, untrained, s3, tmp_path, monkeypatch):
    upload(recordings / "a", f"{s3.uri}/a")
    faults = Faults()
    with proxy(s3.endpoint, faults) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        filesystem_of(s3.uri).__dict__.pop("_store", None)
        options = ("--model", untrained, "--input", f"{s3.uri}/a", "--output", tmp_path / "labels.csv")
        assert call("pipelines.score", *options, "--workers", 1) == 0
    assert faults.requests["GET"] <= 2 * 20 + 3, "its header to plan, and all of it; and the listing"
    assert faults.requests["HEAD"] == 0
