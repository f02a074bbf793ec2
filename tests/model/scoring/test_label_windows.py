import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import soundfile

from features.frontend.windows import Windowing, window_waveforms
from model.inference.executor import EXECUTORS, Executor, load_executor
from model.scoring import label_windows as scoring
from model.scoring.label_windows import label_windows
from model.scoring.labels_csv import Labels, Score, csv_header, score_lines
from model.scoring.plan import WindowUnit
from tests.features.not_files import NOT_FILES, within_seconds
from tests.signals import noise, sine, write_wav


@pytest.fixture(scope="module")
def executor(untrained) -> Executor:
    return load_executor(untrained)


def test_windows_are_labelled_in_order_and_bad_files_set_aside(executor, tmp_path):
    write_wav(tmp_path / "a.wav", sine(300, 40_000))
    write_wav(tmp_path / "b.wav", sine(3000, 8_000))
    (tmp_path / "c.wav").write_bytes(b"")
    units = [WindowUnit("a.wav", 1, 2), WindowUnit("c.wav", 0, 1), WindowUnit("b.wav", 0, 1)]
    labels = label_windows(executor, str(tmp_path), units, Windowing(), top=3)
    assert [(s.path, s.start_seconds, s.end_seconds, s.rank) for s in labels.scores] == [
        (path, start, end, rank)
        for path, start, end in (("a.wav", 1.0, 2.0), ("a.wav", 2.0, 2.5), ("b.wav", 0.0, 0.5))
        for rank in (1, 2, 3)
    ]
    assert [(reject.path, reject.reason) for reject in labels.rejects] == [("c.wav", "empty")]
    assert (labels.scored, labels.windows) == (2, [2, 0, 1])
    for first in (0, 3, 6):
        window = labels.scores[first : first + 3]
        assert sorted(score.label for score in window) == ["high", "low", "middle"]
        assert sum(score.probability for score in window) == pytest.approx(1, abs=1e-6)
        assert window[0].probability >= window[1].probability >= window[2].probability


@pytest.mark.parametrize("name", EXECUTORS)
def test_four_threads_label_as_one_does_to_the_bit(untrained, tmp_path, name):
    executor = load_executor(untrained, name)
    units = []
    for number in range(4):
        # Some are read in this process, the others in one that threads share.
        path = tmp_path / f"{number}.{'flac' if number % 3 == 0 else 'wav'}"
        soundfile.write(path, noise(16_000 * (number % 4 + 1), seed=number), 16_000)
        units.append([WindowUnit(path.name, 0, number % 4 + 1), WindowUnit("missing.wav", 0, 1)])
    expected = [label_windows(executor, str(tmp_path), unit, Windowing(), top=3) for unit in units]
    together = threading.Barrier(4)

    def label(first: int) -> list[Labels]:
        together.wait()
        return [
            label_windows(executor, str(tmp_path), units[number - first], Windowing(), top=3)
            for number in range(len(units))
        ]

    with ThreadPoolExecutor(4) as pool:
        for first, found in zip((0, 1, 2, 3), pool.map(label, (0, 1, 2, 3)), strict=True):
            assert found == [expected[number - first] for number in range(len(units))]


def test_only_bad_files_give_no_scores(executor, tmp_path):
    labels = label_windows(executor, str(tmp_path), [WindowUnit("missing.wav", 0, 1)], Windowing())
    assert (labels.scores, labels.scored, labels.windows) == ([], 0, [0])
    assert labels.rejects[0].reason == "missing"


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("what", NOT_FILES)
def test_what_takes_the_place_of_a_listed_file_is_a_reject(executor, tmp_path, what, first):
    put, reason, message = NOT_FILES[what]
    put(tmp_path / "a.wav")
    with within_seconds(20):
        labels = label_windows(executor, str(tmp_path), [WindowUnit("a.wav", first, 1)], Windowing())
    (reject,) = labels.rejects
    assert (reject.stage, reject.reason) == ("decode", reason)
    assert message in reject.message


@pytest.mark.parametrize("damaged", [False, True])
def test_a_file_that_changes_while_it_is_decoded_has_vanished(executor, tmp_path, monkeypatch, damaged):
    """Also where what has taken its place is damaged: that is of another file."""
    path = tmp_path / "a.flac"
    soundfile.write(path, sine(300, 8_000), 8_000)

    def change_and_decode(source, *arguments):
        path.write_bytes(b"no sound" if damaged else path.read_bytes() + b"\0")
        return window_waveforms(source, *arguments)

    monkeypatch.setattr(scoring, "window_waveforms", change_and_decode)
    labels = label_windows(executor, str(tmp_path), [WindowUnit("a.flac", 0, 1)], Windowing())
    assert [(reject.reason, reject.message) for reject in labels.rejects] == [
        ("vanished", "the file changed while it was read")
    ]


def test_lines_of_scores():
    score = Score('=a,"b".wav', 0.0, 1 / 3, "left", 0.98765449, 1)
    assert csv_header(1) == "path,start_seconds,end_seconds,label,probability\n"
    assert score_lines([score], 1) == '"./=a,""b"".wav",0.000000,0.333333,left,0.987654\n'
    assert csv_header(2) == "path,start_seconds,end_seconds,label,probability,rank\n"
    assert score_lines([score], 2) == '"./=a,""b"".wav",0.000000,0.333333,left,0.987654,1\n'
    assert score_lines(Labels([], [], [], 0, []).scores, 1) == ""
