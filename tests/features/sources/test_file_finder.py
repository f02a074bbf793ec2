import os
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.sources.file_finder import FileFinder
from features.sources.paths import absolute_path, below

NAMES = ("möwe", "Ärger", "straße", "日本", "a b", "ﬁsh", "x.y", "1")


CHANGES = (
    lambda path: unicodedata.normalize("NFC", path),
    str.lower,
    lambda path: path.replace("/", "\\"),
    lambda path: "./" + path,
    lambda path: f" {path}\u00a0",
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A folder of each name with a file of each name in it, all in the decomposed form."""
    root = tmp_path_factory.mktemp("tree")
    for folder in NAMES:
        (root / unicodedata.normalize("NFD", folder)).mkdir()
        for name in NAMES:
            (root / unicodedata.normalize("NFD", f"{folder}/{name}.wav")).write_bytes(b"")
    return FileFinder(os.fsencode(root))


@settings(max_examples=50)
@given(data=st.data())
def test_a_path_is_found_however_it_is_written(tree, data):
    folder, name = data.draw(st.sampled_from(NAMES)), data.draw(st.sampled_from(NAMES))
    path = unicodedata.normalize("NFD", f"{folder}/{name}.wav")
    for change in data.draw(st.permutations(CHANGES)):
        path = change(path) if data.draw(st.booleans()) else path
    expected = os.fsencode(unicodedata.normalize("NFD", f"{folder}/{name}.wav"))
    assert tree.find(os.fsencode(path)) == [expected]


@pytest.mark.parametrize("path", [b"none.wav", b"none/1.wav", b"1/1.wav/1.wav", b"1/1", b"\xff", b"C:\\1\\1.wav"])
def test_what_is_not_there_is_not_found(tree, path):
    assert tree.find(path) == []


def test_several_that_are_written_alike_are_all_found(tmp_path):
    for name in ("A.wav", "a.WAV"):
        (tmp_path / name).write_bytes(b"")
    finder = FileFinder(os.fsencode(tmp_path))
    assert finder.find(b"a.wav") == [b"A.wav", b"a.WAV"]
    assert finder.find(b"a.WAV") == [b"a.WAV"]


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    """Folders with links among them: up, down, sideways, to a link; a file x in each folder."""
    base = tmp_path_factory.mktemp("linked")
    for folder in ("root/a/b", "other/deep/er"):
        (base / folder).mkdir(parents=True)
    (base / "root/out").symlink_to("../other/deep")
    (base / "root/a/again").symlink_to("../out/er")
    (base / "root/in").symlink_to(base / "root" / "a" / "b")
    (base / "root/a/b/up").symlink_to("..")
    for folder in ("", "root", "root/a", "root/a/b", "other", "other/deep", "other/deep/er"):
        (base / folder / "x").write_text(folder)
    (base / "alias").symlink_to("other/deep/er/root")
    (base / "other/deep/er/root").symlink_to(base / "root")
    return base


PARTS = st.lists(st.sampled_from(["a", "b", "out", "er", "again", "in", "up", "root", "..", "..", ".", ""]), max_size=7)


@given(parts=PARTS, root=st.sampled_from(["root", "alias", "root/a"]), absolute=st.booleans())
def test_a_path_below_a_root_is_the_file_that_the_system_opens(linked, parts, root, absolute):
    root = os.fsencode(linked / root)
    path = os.fsencode("/".join([*parts, "x"]).lstrip("/"))
    written = os.path.join(root, path)
    found = os.path.join(root, below(root, written if absolute else path))
    if os.path.exists(written):
        assert os.path.samefile(found, written)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"a/x.wav", b"a/x.wav"),
        (b"./a//x.wav", b"a/x.wav"),
        (b"a/../x.wav", b"x.wav"),
        (b"none/../x.wav", b"x.wav"),
        (b"../other/x.wav", b"../other/x.wav"),
        (b"a/../../x.wav", b"../x.wav"),
        (b"a/", b"a"),
        (b".", b"."),
        (b"", b"."),
        (b"a.b/.c/..d", b"a.b/.c/..d"),
    ],
)
def test_paths_without_links_are_folded(tmp_path, path, expected):
    assert below(os.fsencode(tmp_path), path) == expected
    assert below(os.fsencode(tmp_path), os.path.join(os.fsencode(tmp_path), path)) == expected


def test_absolute_paths(linked, monkeypatch):
    monkeypatch.chdir(linked / "root")
    assert absolute_path("a/../b/./c") == str(linked / "root" / "b" / "c")
    assert absolute_path("out/../x") == str(linked / "other" / "x")
    assert absolute_path(f"{linked}//root/") == str(linked / "root")
    assert absolute_path("/..") == "/"
