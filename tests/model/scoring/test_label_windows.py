import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from features.frontend.windows import Windowing, window_waveforms
from model.inference.executor import EXECUTORS, Executor, load_executor
from model.scoring import label_windows as scoring
from model.scoring.label_windows import label_windows
from model.scoring.part import Labels
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
    labels = label_windows(executor, str(tmp_path), units, Windowing())
    assert labels.start_seconds.tolist() == [1.0, 2.0, 0.0]
    assert labels.end_seconds.tolist() == [2.0, 2.5, 0.5]
    assert [(reject.path, reject.reason) for reject in labels.rejects] == [("c.wav", "empty")]
    assert (labels.scored, labels.windows) == (2, [2, 0, 1])
    assert (labels.probabilities.shape, labels.probabilities.dtype) == ((3, 3), np.float32)
    assert labels.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-6)


def test_a_unit_of_several_batches_is_labelled_as_units_of_one(executor, tmp_path):
    """Whatever was labelled of a file before it showed that it cannot be used is left out."""
    write_wav(tmp_path / "a.wav", noise(300 * 4_000), 4_000)
    loud = noise(300 * 4_000)
    loud[299 * 4_000 :] = 3e38
    soundfile.write(tmp_path / "b.wav", loud, 4_000, subtype="FLOAT")
    units = [WindowUnit("a.wav", 0, 300), WindowUnit("b.wav", 0, 300), WindowUnit("a.wav", 7, 2)]
    found = label_windows(executor, str(tmp_path), units, Windowing())
    alone = label_windows(executor, str(tmp_path), units[:1], Windowing())
    assert found.windows == [300, 0, 2]
    assert [(reject.path, reject.reason) for reject in found.rejects] == [("b.wav", "not_finite")]
    np.testing.assert_array_equal(found.probabilities[:300], alone.probabilities)
    np.testing.assert_array_equal(found.probabilities[300:], alone.probabilities[7:9])
    for start in (0, 250, 299):
        few = label_windows(executor, str(tmp_path), [WindowUnit("a.wav", start, 1)], Windowing())
        np.testing.assert_array_equal(few.probabilities[0], found.probabilities[start])


@pytest.mark.parametrize("name", EXECUTORS)
def test_four_threads_label_as_one_does_to_the_bit(untrained, tmp_path, name):
    executor = load_executor(untrained, name)
    units = []
    for number in range(4):
        # Some are read in this process, the others in one that threads share.
        path = tmp_path / f"{number}.{'flac' if number % 3 == 0 else 'wav'}"
        soundfile.write(path, noise(16_000 * (number % 4 + 1), seed=number), 16_000)
        units.append([WindowUnit(path.name, 0, number % 4 + 1), WindowUnit("missing.wav", 0, 1)])
    expected = [label_windows(executor, str(tmp_path), unit, Windowing()) for unit in units]
    together = threading.Barrier(4)

    def label(first: int) -> list[Labels]:
        together.wait()
        return [
            label_windows(executor, str(tmp_path), units[number - first], Windowing()) for number in range(len(units))
        ]

    with ThreadPoolExecutor(4) as pool:
        for first, found in zip((0, 1, 2, 3), pool.map(label, (0, 1, 2, 3)), strict=True):
            for number, labels in enumerate(found):
                np.testing.assert_equal(vars(labels), vars(expected[number - first]))


def test_only_bad_files_give_no_scores(executor, tmp_path):
    labels = label_windows(executor, str(tmp_path), [WindowUnit("missing.wav", 0, 1)], Windowing())
    assert (len(labels.probabilities), labels.scored, labels.windows) == (0, 0, [0])
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
