"""A source in an object store is what it is in a folder: clips, labels, groups, partitions, rejects and notes."""

import os
import shutil
import unicodedata
import uuid
from pathlib import Path

import pytest

from features.errors import NothingUsableError, UsageError
from features.io.filesystem import filesystem_of
from features.sources.folder import scan
from features.sources.partition import assign
from features.sources.paths import absolute_path, below, clip_file, escape_path
from features.sources.table import list_clips, scan_table
from features.sources.table_layout import TableLayout
from tests.object_store.faults import Faults, proxy
from tests.object_store.listing import lister
from tests.object_store.server import Bucket
from tests.object_store.upload import upload
from tests.signals import noise, write_wav

NAMES = ("a b", "a%20b", "a+b", "é", "=1+1", "a\\b", "ü_nohash_1", "A")
LEFT_OUT = (
    "no/text.txt",
    "no/noname",
    ".hidden/a.wav",
    "yes/.a.wav",
    "_background_noise_/hum.wav",
    "no/@eaDir/a.wav",
    "no/@eaDir/b.txt",
)


@pytest.fixture
def words(tmp_path) -> Path:
    """Two classes with odd names, what is passed over, and a list that another system has written."""
    root = tmp_path / "words"
    for number, name in enumerate(NAMES):
        write_wav(root / ("no", "yes")[number % 2] / f"{name}.wav", noise(80, seed=number))
    write_wav(root / "yes" / "deep" / "er" / "B.WAV", noise(80, seed=99))
    for name in LEFT_OUT:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / "no" / "a b.wav", root / name)
    shutil.copy(root / "no" / "a b.wav", root / "alone.wav")
    listed = ["no\\a+b.wav", unicodedata.normalize("NFD", "yes/é.wav"), "gone/x.wav", "yes/a.wav", "yes/gone.wav"]
    (root / "testing_list.txt").write_text("\n".join(listed), encoding="utf-8")
    return root


def known(source, but=("mtime_ns", "version")):
    return source.clips.drop_columns(list(but)).to_pylist()


def test_a_folder_of_a_store_is_listed_as_one_of_this_machine(words, s3):
    here, there = scan(str(words), labelled=True), scan(upload(words, f"{s3.uri}/deep/words") + "/", labelled=True)
    assert there.root == f"{s3.uri}/deep/words"
    assert known(there) == known(here)
    assert len(here.clips) == len(NAMES) + 1
    assert (there.kind, there.left_out, there.rejects, there.notes) == (
        "folder",
        here.left_out,
        here.rejects,
        here.notes,
    )
    assert there.clips["mtime_ns"].null_count == len(there.clips)
    for path, version in zip(*(there.clips[name].to_pylist() for name in ("path", "version")), strict=True):
        assert filesystem_of(s3.uri).status(clip_file(there.root, path)).version == version
    assigned = [assign(source.clips, source.root, None, None) for source in (here, there)]
    partitions, notes = zip(*((clips["partition"].to_pylist(), notes) for clips, notes in assigned), strict=True)
    assert partitions[0] == partitions[1]
    assert partitions[0].count("testing") == 3
    assert notes[0] == notes[1] and "yes/gone.wav" in notes[0][0]
    content = [assign(source.clips, source.root, "content", (80, 10, 10))[0] for source in (here, there)]
    assert content[0]["group"].equals(content[1]["group"])


def test_one_listing_and_no_request_for_a_file(words, s3, monkeypatch):
    uri, faults = upload(words, f"{s3.uri}/words"), Faults()
    for number in range(1_500):  # two pages
        (s3.folder / "words" / "no" / f"{number:04d}.wav").write_bytes(b"x")
    with proxy(s3.endpoint, faults) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        renew(s3.uri)
        assert len(scan(uri, labelled=True).clips) == 1_500 + len(NAMES) + 1
    assert faults.requests == {"GET": 3}, "one asks whether the bucket is there"


def renew(uri):
    """Forgets a store's connection, which is to the endpoint that the environment named before."""
    filesystem_of(uri).__dict__.pop("_store", None)


def test_an_object_is_a_file_without_a_label(words, s3):
    uri = upload(words, f"{s3.uri}/words")
    source = scan(f"{uri}/no/a b.wav", labelled=False)
    assert (source.kind, source.root, source.clips["path"].to_pylist()) == ("file", f"{uri}/no", ["a b.wav"])
    with pytest.raises(UsageError, match="is one file without a label"):
        scan(f"{uri}/no/a b.wav", labelled=True)
    with pytest.raises(UsageError, match="is not audio"):
        scan(f"{uri}/no/text.txt", labelled=False)
    with pytest.raises(UsageError, match=r"no such file or folder: s3://.*/none$"):
        scan(f"{uri}/none", labelled=False)
    with pytest.raises(UsageError, match="a place is a path, or begins with one of s3://"):
        scan("ftp://host/words", labelled=True)


def table(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_a_table_names_files_here_and_objects(words, s3, tmp_path):
    uri = upload(words, f"{s3.uri}/words")
    names = table(tmp_path / "t.csv", "path,label", "words/no/a b.wav,x", f"{uri}/yes/A.wav,y", f"{uri}/yes/none.wav,y",
                  f"{words}/yes/a%20b.wav,x")  # fmt: skip
    source = scan_table(names, TableLayout())
    rows = source.clips.to_pylist()
    assert [(row["path"], row["label"], row["version"] is None, row["mtime_ns"] is None) for row in rows] == [
        (f"{uri}/yes/A.wav", "y", False, True),
        ("words/no/a b.wav", "x", True, False),
        ("words/yes/a%20b.wav", "x", True, False),
    ]
    assert [(reject.path, reject.reason) for reject in source.rejects] == [(f"{uri}/yes/none.wav", "missing")]
    unlabelled = scan_table(names, TableLayout(), labelled=False)
    assert sorted(unlabelled.clips["path"].to_pylist()) == sorted(
        ["words/no/a b.wav", f"{uri}/yes/A.wav", f"{words}/yes/a%20b.wav"]
    )


@pytest.mark.parametrize("many", [False, True], ids=["one by one", "by a listing"])
def test_a_table_below_a_root_in_a_store_is_as_one_here(words, s3, tmp_path, many):
    for number in range(60 if many else 0):
        write_wav(words / "no" / f"{number}.wav", noise(80, seed=number))
    lines = [
        f"{path.relative_to(words)},no,0.001,0.002" for path in sorted(words.rglob("*.wav")) if "\\" not in path.name
    ]
    lines += ["./no/../yes/A.wav,yes,0.003,0.001", "no/gone.wav,no,0,1", "NO/a B.wav,no,0.004,0.001"]
    names = table(tmp_path / "t.csv", "path,label,start,duration", *lines)
    options = {"start_column": "start", "duration_column": "duration"}
    here = list_clips(names, TableLayout(root=str(words), **options), labelled=True)
    uri = upload(words, f"{s3.uri}/words")
    there = list_clips(names, TableLayout(root=f"{uri}/", **options), labelled=True)
    shown = sorted(row["path"] for row in known(there))
    if many:  # another spelling is looked for where there is a listing to look in
        assert known(there) == known(here)
        assert there.rejects == here.rejects
    else:
        assert shown == sorted(row["path"] for row in known(here) if row["start"] != 64)
        assert [reject.path for reject in there.rejects] == ["NO/a B.wav", "no/gone.wav"]
    filesystem_of(uri).write(f"{uri}/t.csv", Path(names).read_bytes())
    assert known(list_clips(f"{uri}/t.csv", TableLayout(**options), labelled=True)) == known(there)


@pytest.mark.parametrize("number", [1, 60])
def test_a_row_whose_place_can_be_none_is_a_reject(words, s3, tmp_path, number):
    begins = ("http://host/", f"{s3.uri}/a//", "s3:///")
    rows = [f"{begin}{row}.wav,x" for row in range(number) for begin in begins]
    source = scan_table(table(tmp_path / "t.csv", "path,label", "words/no/a b.wav,x", *rows), TableLayout())
    assert source.clips["path"].to_pylist() == ["words/no/a b.wav"]
    assert {reject.reason for reject in source.rejects} == {"missing"}
    told = {reject.path: reject.message for reject in source.rejects}
    assert len(told) == 3 * number
    for begin, rule in zip(begins, ("begins with one of s3://", "has no empty part", "names no bucket"), strict=True):
        assert rule in told[f"{begin}0.wav"]


def test_nothing_usable_in_a_store_is_told(s3, tmp_path):
    names = table(tmp_path / "t.csv", "path,label", f"{s3.uri}/a.wav,x")
    with pytest.raises(NothingUsableError, match=r"all 1 rows were rejected; the first: s3://.*/a\.wav: missing"):
        scan_table(names, TableLayout())


@pytest.mark.parametrize("refused", [None, "words/"], ids=["not listed", "may not be listed"])
def test_a_table_is_read_where_its_folder_cannot_be_listed(refused, tmp_path, monkeypatch):
    bucket = f"s3://b{uuid.uuid4().hex[:12]}"
    names = table(tmp_path / "t.csv", "path,label", *(f"{number}.wav,x" for number in range(60)))
    with lister(["words//b.wav"], refused) as endpoint:
        for variable, value in Bucket(bucket, endpoint, tmp_path).environment.items():
            monkeypatch.setenv(variable, value)
        with pytest.raises(NothingUsableError, match=r"all 60 rows were rejected; the first: 0\.wav: missing"):
            scan_table(names, TableLayout(root=f"{bucket}/words"))


def test_a_folder_that_a_program_has_marked(words, s3):
    marked = s3.folder / "words" / "yes"
    marked.mkdir(parents=True)
    for folder in (marked.parent, marked):  # as the server keeps objects whose names end in /
        os.setxattr(folder, "user.etag", b'"d41d8cd98f00b204e9800998ecf8427e"')
    here, there = scan(str(words), labelled=True), scan(upload(words, f"{s3.uri}/words"), labelled=True)
    assert (known(there), there.left_out) == (known(here), here.left_out)


def test_places_of_paths():
    assert absolute_path("s3://b/x/") == "s3://b/x"
    for root, path, found in (
        (b"s3://b/x", b"y/a.wav", b"y/a.wav"),
        (b"s3://b/x", b"./y/../a.wav", b"a.wav"),
        (b"s3://b/x", b"../a.wav", b"s3://b/a.wav"),
        (b"s3://b/x", b"s3://b/x/y/a.wav", b"y/a.wav"),
        (b"s3://b/x", b"s3://b/xy/a.wav", b"s3://b/xy/a.wav"),
        (b"s3://b/x", b"/here/./a.wav", b"/here/a.wav"),
        (b"/here", b"s3://b/a//b.wav", b"s3://b/a//b.wav"),
    ):
        assert below(root, path) == found, path
        place = clip_file(root.decode(), escape_path(found))
        assert place == (found.decode() if b":/" in found or found[:1] == b"/" else f"{root.decode()}/{found.decode()}")
