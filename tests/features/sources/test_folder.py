import contextlib
import os
import shlex
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.audio.recording import open_recording
from features.errors import NothingUsableError, Reason, Reject, UsageError
from features.sources.folder import scan
from features.sources.paths import clip_file, csv_path, escape_path, unescape_path
from features.sources.rejects import COLUMNS, in_order, read_csv, to_csv
from features.sources.table import scan_table
from features.sources.table_layout import TableLayout
from tests.signals import sine, write_wav

BEEP = sine(440, 16)


def tree(root, *names):
    for name in names:
        write_wav(root / name, BEEP)
    return str(root)


def paths_of(source):
    return source.clips["path"].to_pylist()


def rejects_of(source):
    return [(reject.path, reject.stage, reject.reason) for reject in source.rejects]


@given(st.binary())
def test_any_bytes_survive_escaping(path):
    assert unescape_path(escape_path(path)) == path
    escape_path(path).encode("utf-8")


@given(st.binary(), st.binary())
def test_different_paths_stay_different(one, other):
    assert (escape_path(one) == escape_path(other)) == (one == other)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"yes/a.wav", "yes/a.wav"),
        ("jä/日本.wav".encode(), "jä/日本.wav"),
        (b"\xff\xfe.wav", r"\xff\xfe.wav"),
        (rb"a\xff.wav", r"a\\xff.wav"),
        (b"\\", r"\\"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        (b"", ""),
    ],
)
def test_escaped_paths(path, text):
    assert escape_path(path) == text


@pytest.mark.parametrize(
    ("path", "written"),
    [("=1+1.wav", "./=1+1.wav"), ("+a", "./+a"), ("-a", "./-a"), ("@a", "./@a"), ("a=b", "a=b"), ("yes/=a", "yes/=a")],
)
def test_csv_paths_are_no_formulas(path, written):
    assert csv_path(path) == written


def test_table_of_rejects_is_in_the_order_of_bytes_and_quoted():
    names = [b"\xff.wav", b"b.wav", "ä.wav".encode(), b'=a,"b".wav', b"B.wav"]
    rejects = in_order([Reject(escape_path(name), "decode", Reason.DAMAGED, "one\ntwo") for name in names])
    assert [unescape_path(reject.path) for reject in rejects] == sorted(names)
    assert to_csv(rejects[:2]) == (
        'path,stage,reason,message\n"./=a,""b"".wav",decode,damaged,"one\ntwo"\nB.wav,decode,damaged,"one\ntwo"\n'
    )


def test_labels_of_a_table_of_rejects_come_back(tmp_path):
    labels = [None, "'", "'tis", "+1", "-5dB", "=1", "@home", "a\nb", "yes"]
    rejects = [Reject(f"{number}.wav", "decode", Reason.DAMAGED, "-", label=label)
               for number, label in enumerate(labels)]  # fmt: skip
    rejects.append(Reject("long.wav", "scan", Reason.BAD_ROW, "z" * 200_000))
    (tmp_path / "r.csv").write_text(to_csv(rejects, (*COLUMNS, "label")), newline="")
    assert read_csv(tmp_path / "r.csv") == rejects
    assert "4.wav,decode,damaged,-,'-5dB" in (tmp_path / "r.csv").read_text().splitlines()


def test_a_folder_per_class_at_any_depth(tmp_path):
    source = scan(tree(tmp_path, "yes/b.wav", "yes/a/deep/er.wav", "no/c.WAV", "no/d.Flac", "yes/a.wav"), labelled=True)
    assert (source.kind, source.root) == ("folder", str(tmp_path))
    assert paths_of(source) == ["no/c.WAV", "no/d.Flac", "yes/a.wav", "yes/a/deep/er.wav", "yes/b.wav"]
    assert source.clips["label"].to_pylist() == ["no", "no", "yes", "yes", "yes"]
    assert source.left_out == {}
    assert source.rejects == []
    for row in source.clips.to_pylist():
        status = os.stat(tmp_path / row["path"])
        assert (row["start"], row["duration"]) == (0, None)
        assert (row["size"], row["mtime_ns"]) == (status.st_size, status.st_mtime_ns)


def test_paths_are_in_the_order_of_their_bytes(tmp_path):
    names = ["a/ä.wav", "a/z.wav", "a/Z.wav", "a.b/x.wav", "a/10.wav", "a/9.wav", "日/x.wav", "a/\U0001f600.wav"]
    source = scan(tree(tmp_path, *names), labelled=True)
    assert paths_of(source) == sorted(names, key=os.fsencode)


def test_names_that_are_not_utf8(tmp_path):
    folder = os.fsencode(tmp_path) + b"/\xe4"
    os.mkdir(folder)
    with open(folder + b"/\xff\n\\.wav", "wb") as file:
        file.write(b"abc")
    source = scan(str(tmp_path), labelled=True)
    assert paths_of(source) == ["\\xe4/\\xff\n\\\\.wav"]
    assert source.clips["label"].to_pylist() == ["\\xe4"]
    with open(clip_file(source.root, paths_of(source)[0]), "rb") as file:
        assert file.read() == b"abc"


def test_what_is_left_out_is_counted(tmp_path):
    root = tree(tmp_path, "yes/a.wav", "yes/.b.wav", ".cache/yes/c.wav", "_background_noise_/tap.wav")
    tree(tmp_path, "_background_noise_/more/drip.wav", "yes/_background_noise_.wav")
    for name in ("README.md", "yes/a.txt", "yes/wav", "yes/a.wav.bak"):
        (tmp_path / name).write_text("text", encoding="utf-8")
    source = scan(root, labelled=True)
    assert paths_of(source) == ["yes/_background_noise_.wav", "yes/a.wav"]
    assert source.left_out == {"hidden": 2, "in _background_noise_": 2, "not audio": 4}
    assert source.rejects == []


def test_recordings_are_known_by_the_endings_that_other_programs_give_them(tmp_path):
    endings = [
        "mp1",
        "mp2",
        "mpc",
        "spx",
        "awb",
        "mkv",
        "mov",
        "asf",
        "dsf",
        "dff",
        "tak",
        "ec3",
        "adts",
        "wma",
        "ape",
        "tta",
        "mp3",
        "flac",
        "AC3",
        "Mp2",
    ]
    root = tree(tmp_path, *(f"yes/{number:02}.{ending}" for number, ending in enumerate(endings)), "yes/a.mid")
    source = scan(root, labelled=True)
    assert [path.split(".")[1] for path in paths_of(source)] == endings
    assert source.left_out == {"not audio": 1}


@pytest.mark.parametrize("name", ["#recycle", "$RECYCLE.BIN", "$Recycle.Bin", "lost+found", "System Volume Information",
                                  "@eaDir", "#snapshot"])  # fmt: skip
def test_folders_of_what_was_deleted_are_no_classes(tmp_path, name):
    root = tree(tmp_path, "a/1.wav", "a/2.wav", f"{name}/S-1-5/old.wav", f"a/{name}/old.wav", f"b/{name}s/x.wav")
    source = scan(root, labelled=True)
    assert paths_of(source) == ["a/1.wav", "a/2.wav", f"b/{name}s/x.wav"]
    assert source.left_out == {f"in {name}": 2}
    assert len(scan(str(tmp_path / name), labelled=False).clips) == 1, "which is asked for by its name"


@pytest.mark.data
def test_the_real_layout(data):
    source = scan(str(data / "speech_commands_8words"), labelled=True)
    assert len(source.clips) == 5_968
    assert sorted(set(source.clips["label"].to_pylist())) == ["down", "go", "left", "no", "right", "stop", "up", "yes"]
    assert source.left_out["in _background_noise_"] == 1
    assert not source.rejects


def test_audio_beside_the_class_folders_has_no_label(tmp_path):
    root = tree(tmp_path, "yes/a.wav", "b.wav")
    source = scan(root, labelled=True)
    assert paths_of(source) == ["yes/a.wav"]
    assert rejects_of(source) == [("b.wav", "scan", Reason.BAD_LABEL)]
    source = scan(root, labelled=False)
    assert paths_of(source) == ["b.wav", "yes/a.wav"]
    assert source.clips["label"].to_pylist() == [None, None]
    assert not source.rejects


def test_one_file(tmp_path):
    path = write_wav(tmp_path / "A b.WaV", BEEP)
    source = scan(str(path), labelled=False)
    assert (source.kind, source.root, paths_of(source)) == ("file", str(tmp_path), ["A b.WaV"])
    assert source.clips["size"].to_pylist() == [path.stat().st_size]
    assert clip_file(source.root, "A b.WaV") == str(path)


@pytest.mark.parametrize(
    ("make", "labelled", "message"),
    [
        (lambda root: root / "none", False, "no such file or folder"),
        (lambda root: write_wav(root / "a.wav", BEEP), True, "one file without a label"),
        (lambda root: write_wav(root / "a.mid", BEEP), False, "is not audio"),
        (lambda root: root, False, "no audio in"),
        (lambda root: write_wav(root / "x" / ".a.wav", BEEP).parent, True, r"no audio in .*left out: 1 hidden"),
        (lambda root: write_wav(root / "x" / "a.wav", BEEP).parent, True, "1 audio files lie directly in it"),
        (lambda root: write_wav(root / "_background_noise_" / "a.wav", BEEP).parent.parent, True, "no audio in"),
    ],
)
def test_input_that_cannot_be_used(tmp_path, make, labelled, message):
    with pytest.raises(UsageError, match=message):
        scan(str(make(tmp_path)), labelled)


def test_labels_that_spreadsheets_take_for_formulas_are_labels(tmp_path):
    labels = ["'tis", "+1", "-5dB", "=sum", "@home"]
    source = scan(tree(tmp_path, *(f"{label}/a.wav" for label in labels)), labelled=True)
    assert source.clips["label"].to_pylist() == labels
    assert not source.rejects


def test_a_loop_of_links_ends(tmp_path):
    tree(tmp_path, "yes/a.wav")
    (tmp_path / "yes" / "up").symlink_to(tmp_path)
    (tmp_path / "yes" / "self").symlink_to(tmp_path / "yes", target_is_directory=True)
    source = scan(str(tmp_path), labelled=True)
    assert paths_of(source) == ["yes/a.wav"]
    assert source.left_out == {"folders linked twice": 2}


def test_a_folder_that_is_linked_twice_is_read_once(tmp_path):
    outside = tmp_path / "outside"
    tree(outside, "a.wav")
    scans = []
    for order in ("abc", "cba", "bca"):
        root = tmp_path / order
        tree(root, "yes/b.wav")
        for name in order:
            (root / name).symlink_to(outside, target_is_directory=True)
        (root / "a real folder comes before a link").symlink_to(root / "yes", target_is_directory=True)
        source = scan(str(root), labelled=True)
        assert source.left_out == {"folders linked twice": 3}
        scans.append(paths_of(source))
    assert scans == scans[:1] * 3, "the order of the names decides, not that of the folder on disk"
    assert scans[0][1] == "yes/b.wav"


def test_links_to_files_and_a_link_as_root(tmp_path):
    tree(tmp_path / "root", "yes/a.wav")
    (tmp_path / "root" / "yes" / "b.wav").symlink_to("a.wav")
    (tmp_path / "link").symlink_to("root")
    source = scan(str(tmp_path / "link"), labelled=True)
    assert paths_of(source) == ["yes/a.wav", "yes/b.wav"]
    assert source.clips["size"].to_pylist()[0] == source.clips["size"].to_pylist()[1]


def test_a_broken_link_is_a_reject(tmp_path):
    tree(tmp_path, "yes/a.wav")
    (tmp_path / "yes" / "b.wav").symlink_to("gone.wav")
    source = scan(str(tmp_path), labelled=True)
    assert paths_of(source) == ["yes/a.wav"]
    assert rejects_of(source) == [("yes/b.wav", "scan", Reason.MISSING)]


def test_a_link_to_itself_is_a_reject(tmp_path):
    tree(tmp_path, "yes/a.wav")
    (tmp_path / "yes" / "b.wav").symlink_to("b.wav")
    source = scan(str(tmp_path), labelled=True)
    assert paths_of(source) == ["yes/a.wav"]
    assert [reject.path for reject in source.rejects] == ["yes/b.wav"]


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Takes the rights of a user that owns nothing, as root may read everything; another user stays who it is."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_folder_that_may_not_be_read_is_a_reject():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        tree(root, "yes/a.wav", "no/b.wav")
        root.chmod(0o755)
        (root / "no").chmod(0)
        with as_nobody():
            source = scan(folder, labelled=True)
        (root / "no").chmod(0o700)
    assert paths_of(source) == ["yes/a.wav"]
    assert rejects_of(source) == [("no", "scan", Reason.PERMISSION)]


def test_rejects_have_the_label_that_their_clips_would_have(tmp_path):
    tree(tmp_path, "yes/a.wav", "b.wav")
    for path in ("no /c.wav", "yes/d.wav"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).symlink_to("gone.wav")
    rejects = {reject.path: reject.label for reject in scan(str(tmp_path), labelled=True).rejects}
    assert rejects == {"b.wav": None, "no /c.wav": "no", "yes/d.wav": "yes"}


def test_class_folders_without_audio_are_named(tmp_path):
    tree(tmp_path, "yes/a.wav", "yes/deep/b.wav", ".hidden/a.wav", "#recycle/a.wav", "_background_noise_/a.wav")
    for name in ("nothing", "docs", "yes/empty", "gone"):
        (tmp_path / name).mkdir()
    (tmp_path / "docs" / "notes.txt").write_text("text")
    (tmp_path / "gone" / "a.wav").symlink_to("nowhere")
    (tmp_path / "again").symlink_to("yes")
    source = scan(str(tmp_path), labelled=True)
    assert source.notes == ["no audio in these folders, which are no classes: docs, nothing"]
    assert scan(str(tmp_path), labelled=False).notes == []
    for number in range(6):
        (tmp_path / f"e{number}").mkdir()
    assert scan(str(tmp_path), labelled=True).notes[0].endswith("docs, e0, e1, e2, e3 and 3 more")


def test_where_nothing_can_be_read_the_rejects_come_with_the_error(tmp_path):
    (tmp_path / "yes").mkdir()
    (tmp_path / "yes" / "a.wav").symlink_to("gone.wav")
    with pytest.raises(
        NothingUsableError, match=r"1 files and folders cannot be read; the first: yes/a\.wav: missing"
    ) as e:
        scan(str(tmp_path), labelled=False)
    assert [(reject.path, reject.reason) for reject in e.value.rejects] == [("yes/a.wav", Reason.MISSING)]


@pytest.mark.parametrize("when_ns", [-(2**63), -5 * 10**17, -1, 0, 2**63 - 1, 2**63, 13 * 10**18])
@pytest.mark.parametrize("kind", ["folder", "file", "table"])
def test_any_time_that_a_file_system_keeps_is_a_time(tmp_path, when_ns, kind):
    path = tmp_path / "yes" / "a.wav"
    tree(tmp_path, "yes/a.wav")
    (tmp_path / "t.csv").write_text("path,label\nyes/a.wav,yes\n")
    os.utime(path, ns=(0, when_ns))
    kept_ns = min(os.stat(path).st_mtime_ns, 2**63 - 1)
    source = {
        "folder": lambda: scan(str(tmp_path), labelled=True),
        "file": lambda: scan(str(path), labelled=False),
        "table": lambda: scan_table(str(tmp_path / "t.csv"), TableLayout()),
    }[kind]()
    assert source.clips["mtime_ns"].to_pylist() == [kept_ns]
    with open_recording(str(path), whole=True) as recording:
        assert recording.mtime_ns == kept_ns


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_no_file_is_left_out(tmp_path, monkeypatch, kind):
    tree(tmp_path, "yes/a.wav")
    monkeypatch.chdir(tmp_path / "yes")  # the name of a socket is short
    if kind == "pipe":
        os.mkfifo("b.wav")
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("b.wav")
    source = scan(str(tmp_path), labelled=True)
    assert paths_of(source) == ["yes/a.wav"], "to open a pipe waits forever"


def test_a_folder_named_like_a_file(tmp_path):
    source = scan(tree(tmp_path, "yes.wav/a.wav", "yes.wav/b.wav/c.wav"), labelled=True)
    assert paths_of(source) == ["yes.wav/a.wav", "yes.wav/b.wav/c.wav"]
    assert set(source.clips["label"].to_pylist()) == {"yes.wav"}


def test_relative_input_becomes_absolute(tmp_path, monkeypatch):
    tree(tmp_path, "words/yes/a.wav")
    monkeypatch.chdir(tmp_path)
    assert scan("words", labelled=True).root == str(tmp_path / "words")
    assert scan("words/../words/", labelled=True).root == str(tmp_path / "words")


DIGITS = ("0_jackson_0.wav", "0_theo_12.wav", "7_jackson_3.wav", "deep/9_nicolas_1.wav")


def test_labels_and_groups_in_names(tmp_path):
    root = tree(tmp_path, *DIGITS)
    pattern = r"(?P<label>\d)_(?P<group>\w+)_\d+"
    source = scan(root, labelled=True, pattern=pattern)
    assert paths_of(source) == list(DIGITS)
    assert source.clips["label"].to_pylist() == ["0", "0", "7", "9"]
    assert source.clips["group"].to_pylist() == ["jackson", "theo", "jackson", "nicolas"]
    assert "partition" not in source.clips.column_names
    assert source.described == {"kind": "folder", "root": root, "pattern": pattern}
    assert scan(root, labelled=False).described == {"kind": "folder", "root": root}


def test_a_pattern_is_searched_in_the_relative_path(tmp_path):
    root = tree(tmp_path / "train" / "dog", "test/cat.0.wav", "train/dog.1.wav", "train/dog.2.wav")
    pattern = r"(?P<partition>train|test)/(?P<label>\w+)\.((?P<group>1)|\d)"
    rows = scan(root, labelled=True, pattern=pattern).clips.select(["label", "group", "partition"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("cat", None, "test"), ("dog", "1", "train"), ("dog", None, "train")
    ]  # fmt: skip


def test_paths_without_a_label_are_rejects(tmp_path):
    root = tree(tmp_path, "0_jackson_0.wav", "readme.wav", "_theo_1.wav", "left/1_theo_1.wav")
    source = scan(root, labelled=True, pattern=r"(?P<label>\d*)_")
    assert paths_of(source) == ["0_jackson_0.wav", "left/1_theo_1.wav"]
    assert rejects_of(source) == [
        ("_theo_1.wav", "scan", Reason.BAD_LABEL), ("readme.wav", "scan", Reason.BAD_LABEL)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(?P<label>", r"a regular expression, and '\(\?P<label>' is not one"),
        ("(.)_", "named group"),
        ("(?P<group>.)", "named group"),
        ("(?P<label>.)(?P<speaker>.)", "no others"),
        (
            "(?P<label>x+)",
            r"'\(\?P<label>x\+\)' finds no label in any of the 4 paths below .*, such as 0_jackson_0\.wav",
        ),
        (r"(?P<label>x\d+)\.wav", r"'\(\?P<label>x\\d\+\)\\\.wav' finds no label in any"),  # as it was typed
        ("(?P<label>x*)", "finds no label in any"),
        ("(?P<label>-)?", "finds no label in any"),
    ],
)
def test_patterns_that_cannot_be_used(tmp_path, pattern, message):
    with pytest.raises(UsageError, match=message):
        scan(tree(tmp_path, *DIGITS), labelled=True, pattern=pattern)


def test_labels_of_a_pattern_that_spreadsheets_take_for_formulas_are_labels(tmp_path):
    source = scan(tree(tmp_path, "a-1.wav", "b+2.wav"), labelled=True, pattern="(?P<label>[-+].)")
    assert source.clips["label"].to_pylist() == ["-1", "+2"]


def divided(root, *folders, classes=("owl", "my frog")):
    return tree(root, *(f"{folder}/{label}/{n}.wav" for folder in folders for label in classes for n in range(2)))


def suggested(message):
    """What a scan says of the folders with the pattern that a message suggests."""
    words = shlex.split(message[message.index("--input") :].partition("; ")[0])
    source = scan(words[1], labelled=True, pattern=words[words.index("--label-pattern") + 1])
    return [set(source.clips[name].to_pylist()) for name in ("partition", "label")], len(source.rejects)


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "test"),
        ("Train", "valid", "evaluation"),
        ("fold1",),
        tuple(f"fold_{n}" for n in range(1, 11)),
        ("dev",),
    ],
    ids="-".join,
)
def test_folders_named_like_partitions_are_refused_with_the_command_that_reads_them(tmp_path, folders):
    root = divided(tmp_path / "a b", *folders)
    with pytest.raises(UsageError, match="named like partitions") as raised:
        scan(root, labelled=True)
    assert suggested(str(raised.value)) == ([set(folders), {"owl", "my frog"}], 0)
    assert len(scan(root, labelled=False).clips) == 4 * len(folders)
    as_classes = shlex.split(str(raised.value))[-1]
    assert set(scan(root, labelled=True, pattern=as_classes).clips["label"].to_pylist()) == set(folders)


def test_of_an_evaluation_and_a_test_one_is_taken(tmp_path):
    with pytest.raises(UsageError, match="either eval or test may be what is tested") as raised:
        scan(divided(tmp_path, "train", "eval", "test"), labelled=True)
    assert suggested(str(raised.value)) == ([{"train", "test"}, {"owl", "my frog"}], 4)


def test_partitions_beside_other_folders_are_named(tmp_path):
    (note,) = scan(tree(Path(divided(tmp_path, "train", "test")), "extra/1.wav"), labelled=True).notes
    assert note.endswith("now they are classes")
    assert suggested(note) == ([{"train", "test"}, {"owl", "my frog"}], 1)


def test_partitions_without_folders_of_classes(tmp_path):
    with pytest.raises(UsageError, match=r"2 folders of .* \(fold1, fold2\), and have no folders of classes"):
        scan(tree(tmp_path, "fold1/7-0.wav", "fold2/8-0.wav", "fold2/deep/9-0.wav"), labelled=True)


@pytest.mark.parametrize("folders", ["0 1 2", "07", "train plane", "trains tests", "fold folds", "left right"])
def test_folders_that_are_classes(tmp_path, folders):
    assert scan(divided(tmp_path, *folders.split()), labelled=True).notes == []


def test_space_around_a_label_is_not_of_it(tmp_path):
    root = tree(tmp_path, "Owl/1.wav", "Owl /2.wav", " Owl/3.wav", "Owl\u00a0/4.wav", "a b/5.wav", " \u3000/6.wav")
    source = scan(root, labelled=True)
    assert dict(zip(paths_of(source), source.clips["label"].to_pylist(), strict=True)) == {
        "Owl/1.wav": "Owl", "Owl /2.wav": "Owl", " Owl/3.wav": "Owl", "Owl\u00a0/4.wav": "Owl", "a b/5.wav": "a b"
    }  # fmt: skip
    assert rejects_of(source) == [(" \u3000/6.wav", "scan", Reason.BAD_LABEL)]
    source = scan(root, labelled=True, pattern="^(?P<label>[^/]+)/")
    assert sorted(set(source.clips["label"].to_pylist())) == ["Owl", "a b"]
    assert len(source.rejects) == 1
