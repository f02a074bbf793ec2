import os
import zipfile

import numpy as np
import pytest

from features.errors import UsageError
from features.io.filesystem import filesystem_of
from features.networks import network_file
from features.networks.network_file import FORMATS, read_network_file
from features.networks.wire import is_onnx
from tests.features.networks.onnx_files import model, node, small_onnx, value
from tests.features.networks.small import small_network
from tests.signals import noise, write_wav

PARTS = {
    "saved_model.pb": b"\x08\x01",
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": bytes(range(256)),
    "assets/words.txt": b"one\ntwo\n",
}


def write_folder(folder, parts=PARTS, order=1):
    for name in list(parts)[::order]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(parts[name])
    return folder


@pytest.mark.parametrize("name", ["network.tflite", "network.onnx", "network"])
@pytest.mark.parametrize(("content", "expected"), [(small_network(), "tflite"), (small_onnx(), "onnx")])
def test_the_content_says_what_a_file_is_and_not_its_ending(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    found = read_network_file(tmp_path / name)
    assert (found.content, found.format, len(found.sha256)) == (content, expected, 64)


def test_a_folder_of_a_saved_model_becomes_one_archive_that_is_the_same_wherever_it_lies(tmp_path):
    first = read_network_file(write_folder(tmp_path / "first"))
    second = write_folder(tmp_path / "second", order=-1)
    # What some versions of TensorFlow write beside the network, and what people do.
    write_folder(second, {"fingerprint.pb": b"x", "keras_metadata.pb": b"x", "README.md": b"", "assets.extra/a": b""})
    os.utime(second / "saved_model.pb", (10**9, 10**9))
    assert read_network_file(str(second) + "/") == first
    assert first.format == "saved_model"
    kept = tmp_path / f"{first.sha256}{FORMATS[first.format]}"
    kept.write_bytes(first.content)
    with zipfile.ZipFile(kept) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == PARTS
    assert read_network_file(kept) == first
    # An archive that another program made, with times and compressed.
    with zipfile.ZipFile(tmp_path / "by-hand.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in PARTS:
            archive.write(second / name, name)
    assert read_network_file(tmp_path / "by-hand.zip") == first


@pytest.mark.parametrize("name", PARTS)
def test_each_part_of_a_saved_model_counts(tmp_path, name):
    changed = read_network_file(write_folder(tmp_path / "changed", {**PARTS, name: PARTS[name] + b"x"}))
    assert changed.sha256 != read_network_file(write_folder(tmp_path / "first")).sha256


def test_networks_are_read_from_an_object_store_alike(s3, tmp_path):
    folder = write_folder(tmp_path / "folder")
    store = filesystem_of(s3.uri)
    for name, content in PARTS.items():
        store.write(f"{s3.uri}/folder/{name}", content)
    store.write(f"{s3.uri}/network", small_network())
    assert read_network_file(f"{s3.uri}/folder") == read_network_file(folder)
    assert read_network_file(f"{s3.uri}/network").content == small_network()
    with pytest.raises(UsageError, match="no such network"):
        read_network_file(f"{s3.uri}/other")


@pytest.mark.parametrize("content", [b"", b"PK", b"TFL3", b"text\n" * 9, small_onnx()[:-1], b"\x08\x08" * 40])
def test_a_file_that_is_no_network_is_named(tmp_path, content):
    path = tmp_path / "network.tflite"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"network\.tflite: this is no network that can be run"):
        read_network_file(path)


def test_neither_a_recording_nor_any_beginning_of_a_network_is_taken_for_one_in_protobuf(tmp_path):
    write_wav(tmp_path / "noise.wav", noise(1_000))
    assert not is_onnx((tmp_path / "noise.wav").read_bytes())
    content = model([value("a", [1])], [node("Relu", ["a"], "b")], [value("b", [1])])
    whole = [length for length in range(len(content) + 1) if is_onnx(content[:length])]
    assert whole == [len(content)]  # the last field, the version of the operations, is one that all have
    random = np.random.default_rng(0)
    assert not any(is_onnx(random.bytes(length)) for length in range(500))


def test_a_pipe_or_a_device_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(UsageError, match="this is a pipe or a device"):
            read_network_file(path)


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(UsageError, match=r"/link: the network cannot be read: .*symbolic links"):
        read_network_file(tmp_path / "link")


def test_folders_and_archives_without_a_saved_model_are_named(tmp_path):
    with pytest.raises(UsageError, match="/missing: there is no such network"):
        read_network_file(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="there is no such network"):
        read_network_file(tmp_path / "empty")
    folder = write_folder(tmp_path / "folder", {"inner/saved_model.pb": b"", "variables/x": b""})
    with pytest.raises(UsageError, match=r"the folder is no SavedModel: it has no saved_model\.pb"):
        read_network_file(folder)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("inner/saved_model.pb", b"")
    with pytest.raises(UsageError, match=r"a\.zip: the archive is no SavedModel"):
        read_network_file(tmp_path / "a.zip")
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "b.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError, match=r"b\.zip: the archive is damaged"):
        read_network_file(tmp_path / "b.zip")


def test_damage_anywhere_in_an_archive_is_one_line(tmp_path):
    path = tmp_path / "network.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, content in {**PARTS, "assets/wörter.txt": noise(300).tobytes()}.items():
            archive.writestr(part, content)
    content = path.read_bytes()
    random, refused = np.random.default_rng(0), 0
    for _ in range(400):
        damaged = bytearray(content)
        damaged[random.integers(4, len(content))] ^= random.integers(1, 256)
        path.write_bytes(damaged)
        try:
            read_network_file(path)
        except UsageError as error:
            refused += 1
            assert "\n" not in str(error)
            assert "network.zip: the archive is" in str(error) or "leads out of the folder" in str(error)
    assert refused > 200


@pytest.mark.parametrize("name", ["variables/../../elsewhere", "assets/..", "variables/./../x"])
def test_an_archive_with_a_name_that_leads_out_of_its_folder_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "network.zip", "w") as archive:
        for part, content in [*PARTS.items(), (name, b"")]:
            archive.writestr(part, content)
    with pytest.raises(UsageError, match=r"network\.zip: .* leads out of the folder"):
        read_network_file(tmp_path / "network.zip")


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(network_file, "_MOST_BYTES", 100)
    (tmp_path / "network.onnx").write_bytes(small_onnx())
    with pytest.raises(UsageError, match="at most 2 GiB"):
        read_network_file(tmp_path / "network.onnx")
    with pytest.raises(UsageError, match="at most 2 GiB"):
        read_network_file(write_folder(tmp_path / "folder"))
