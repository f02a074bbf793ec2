import os
import unicodedata

import pytest

from features.errors import UsageError
from features.sources.folder import scan
from features.sources.official_lists import read_lists
from features.sources.partition import OFFICIAL_LISTS, TESTING, VALIDATION, assign
from tests.signals import sine, write_wav

NFC, NFD = (unicodedata.normalize(form, "möwe") for form in ("NFC", "NFD"))
CLIPS = [f"{label}/{number}.wav" for label in (NFD, "yes") for number in range(4)]


@pytest.fixture
def root(tmp_path):
    """Four clips of two classes, one of which is named in the decomposed form, as macOS does."""
    for path in CLIPS:
        write_wav(tmp_path / path, sine(440, 16))
    return tmp_path


def read(root, **lists):
    """Writes lists, text or bytes by partition, and returns what comes of the clips below the root."""
    for partition, content in lists.items():
        content = content if isinstance(content, bytes) else content.encode()
        (root / OFFICIAL_LISTS[partition]).write_bytes(content)
    source = scan(str(root), labelled=True)
    clips, notes = assign(source.clips, source.root, None, None)
    partitions = zip(clips["path"].to_pylist(), clips["partition"].to_pylist(), strict=True)
    return {path: partition for path, partition in partitions if partition != "training"}, notes


def rewrite(old, new):
    return lambda text: text.replace(old, new).encode()


FORMS = {
    "as it is": str.encode,
    "Windows lines": rewrite("\n", "\r\n"),
    "lines of old Macs": rewrite("\n", "\r"),
    "no last line feed": lambda text: text.rstrip("\n").encode(),
    "empty lines": rewrite("\n", "\n \n\n"),
    "byte order mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 of the other order": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-16 without a mark": lambda text: text[text.index("yes") :].encode("utf-16-le"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "backslashes": rewrite("/", "\\"),
    "./": lambda text: "".join(f"./{line}\n" for line in text.split()).encode(),
    ".\\": lambda text: "".join(f".\\{line}\n" for line in text.replace("/", "\\").split()).encode(),
    "doubled slashes": rewrite("/", "//"),
    "composed": rewrite(NFD, NFC),
    "composed, backslashes": lambda text: text.replace(NFD, NFC).replace("/", "\\").encode("utf-16"),
    "another case of the ending": rewrite(".wav", ".WAV"),
    "another case": lambda text: text.upper().encode(),
    "spaces": rewrite("\n", " \t\n  "),
    "a folder and back": rewrite("yes/", "yes/../yes/"),
}


@pytest.mark.parametrize("form", FORMS)
def test_no_clip_that_a_list_holds_out_is_trained_on_however_it_is_written(root, form):
    content = FORMS[form](f"{NFD}/1.wav\nyes/1.wav\nyes/2.wav\n")
    held_out = {path: TESTING for path in (f"{NFD}/1.wav", "yes/1.wav", "yes/2.wav")}
    if form == "UTF-16 without a mark":
        del held_out[f"{NFD}/1.wav"]
    assert read(root, testing=content) == (held_out, [])


def test_absolute_paths(root):
    assert read(root, testing=f"{root}/yes/1.wav\n") == ({"yes/1.wav": TESTING}, [])


def test_a_file_that_is_named_as_written_is_the_one_that_is_meant(root):
    for name in (f"{NFC}/1.wav", "yes/1.WAV", "yes/1.wav ", "yes\\1.wav"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"abc")
    assert read(root, testing=f"{NFC}/1.wav\nyes/1.WAV\n")[0] == {f"{NFC}/1.wav": TESTING, "yes/1.WAV": TESTING}
    with pytest.raises(UsageError, match=r"line 2: no file is named yes/1\.Wav, and yes/1\.WAV, .* are named alike"):
        read(root, testing="yes/2.wav\nyes/1.Wav\n")


def test_double_entries_are_named(root):
    _, (note,) = read(root, testing="yes/1.wav\nyes\\1.wav\nyes/2.wav\n")
    assert note == "testing_list.txt names 1 entries more than once: yes/1.wav"


def test_a_clip_in_both_lists_is_refused_although_it_is_written_otherwise(root):
    with pytest.raises(UsageError, match=r"yes/1\.wav in validation_list\.txt and testing_list\.txt"):
        read(root, validation="yes/1.wav\n", testing=".\\yes\\1.WAV\n")


@pytest.mark.parametrize(("missing", "refused"), [(0, False), (1, False), (3, False), (4, True), (5, True)])
def test_missing_entries_are_named_and_refused_where_they_are_more_than_half(root, missing, refused):
    content = "yes/0.wav\nyes/1.wav\nyes/2.wav\n" + "".join(f"yes/gone{number}.wav\n" for number in range(missing))
    if refused:
        with pytest.raises(UsageError, match=rf"holds out {3 + missing} files, and {missing} of them are not there"):
            read(root, testing=content)
        return
    held_out, notes = read(root, testing=content)
    assert len(held_out) == 3
    gone = ", ".join(f"yes/gone{number}.wav" for number in range(missing))
    assert notes == ([f"testing_list.txt names {missing} files that are not there: {gone}"] if missing else [])


def test_five_of_many_are_named(root):
    content = "".join(f"yes/{number}.wav\n{NFD}/{number}.wav\n" for number in range(4))
    _, (note,) = read(root, testing=content + "".join(f"yes/gone{number}.wav\n" for number in range(8)))
    assert "names 8 files" in note
    assert note.endswith("yes/gone4.wav and 3 more")


def test_a_part_of_a_collection_may_have_its_whole_lists(root, caplog):
    caplog.set_level("INFO", "soundmill")
    content = "yes/1.wav\n_background_noise_/tap.wav\n" + "".join(f"bed/{number}.wav\n" for number in range(9))
    assert read(root, testing=content) == ({"yes/1.wav": TESTING}, [])
    assert caplog.messages == ["testing_list.txt names 9 files besides, in folders that are not there"]
    assert read(root, testing="bed/1.wav\n", validation="yes/1.wav\n") == ({"yes/1.wav": VALIDATION}, [])


@pytest.mark.parametrize("before", ["speech/", "/home/anna/speech/", "C:\\speech\\", "yes/wav/"])
def test_entries_that_begin_elsewhere_are_refused(root, before):
    with pytest.raises(UsageError, match="2 of them are not there"):
        read(root, testing=f"{before}yes/1.wav\n{before}yes/2.wav\n")


def test_entries_without_their_folder_are_refused(root):
    with pytest.raises(UsageError, match=r"not there, such as 1\.wav; .*--split"):
        read(root, testing="1.wav\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"yes/1.wav\n{NFC}/1.wav\n".encode("latin-1"), r"line 2: m\\xf6we/1\.wav is not there, and is not UTF-8"),
        (b"yes/1.wav\nyes/\0.wav\n", "line 2: no file can have the name"),
        ("yes/1.wav\n".encode("utf-16")[:-1], r"cannot read .*testing_list\.txt.*save it as UTF-8"),
    ],
)
def test_lists_that_cannot_be_read_are_refused(root, content, message):
    with pytest.raises(UsageError, match=message):
        read(root, testing=content)


def test_what_is_there_and_is_not_a_clip_of_the_source_is_not_missing(root):
    (root / "yes" / "notes.txt").write_text("no audio")
    (root / "yes" / "gone.wav").symlink_to("nowhere")
    content = "yes/notes.txt\nyes/gone.wav\nyes/3.wav\n"
    assert read(root, testing=content) == ({"yes/3.wav": TESTING}, [])


def test_entries_in_any_bytes(tmp_path):
    folder = os.fsencode(tmp_path) + b"/j\xc3\xa4\xff"
    os.mkdir(folder)
    for name in (b"/\\.wav", b"/ .wav"):
        with open(folder + name, "wb") as file:
            file.write(b"abc")
    (tmp_path / "testing_list.txt").write_bytes(b"j\xc3\xa4\xff/\\.wav\nj\xc3\xa4\xff/ .wav\n")
    paths = scan(str(tmp_path), labelled=True).clips["path"]
    listed, notes = read_lists(str(tmp_path), {TESTING: "testing_list.txt"}, paths)
    assert listed == {"jä\\xff/\\\\.wav": TESTING, "jä\\xff/ .wav": TESTING}
    assert notes == []
