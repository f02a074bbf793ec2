import numpy as np
import pytest

from features.presets import preset
from features.spectrogram import compute_features
from model.artifact import load_artifact
from model.labelling import label_windows
from model.labels import BATCH_CLIPS, Labels, Score, WindowUnit, csv_header, score_lines
from model.predictor import Predictor
from tests.signals import sine, write_wav


@pytest.fixture(scope="module")
def predictor(untrained) -> Predictor:
    return Predictor(load_artifact(untrained))


@pytest.fixture(scope="module")
def waveforms() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, (600, 16_000)).astype(np.float32)


@pytest.fixture(scope="module")
def features(waveforms) -> np.ndarray:
    return compute_features(waveforms, preset("speech-commands"))


@pytest.fixture(scope="module")
def expected(predictor, features) -> np.ndarray:
    return predictor.probabilities(features)


def test_probabilities_are_those_of_the_network(predictor, features, expected):
    logits = predictor.artifact.network(features[:32, ..., None]).numpy().astype(np.float64)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(expected[:32], exponents / exponents.sum(axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("number", [1, 2, BATCH_CLIPS - 1, BATCH_CLIPS, BATCH_CLIPS + 1])
def test_probabilities_do_not_depend_on_the_number_of_clips_to_the_bit(predictor, features, expected, number):
    np.testing.assert_array_equal(predictor.probabilities(features[:number]), expected[:number])


@pytest.mark.parametrize("slot", [0, 1, 7, 128, 255])
def test_probabilities_do_not_depend_on_the_place_in_the_batch_to_the_bit(predictor, features, expected, slot):
    batch = features[1 : 1 + BATCH_CLIPS].copy()
    batch[slot] = features[0]
    np.testing.assert_array_equal(predictor.probabilities(batch)[slot], expected[0])


def test_waveforms_go_through_the_front_end(predictor, waveforms, expected):
    features = compute_features(waveforms[:5], predictor.artifact.spec)
    np.testing.assert_array_equal(predictor.probabilities(features), expected[:5])


def test_no_clips_give_no_probabilities(predictor):
    assert predictor.probabilities(np.empty((0, 124, 129), np.float32)).shape == (0, 3)


def test_windows_are_labelled_in_order_and_bad_files_set_aside(predictor, tmp_path):
    write_wav(tmp_path / "a.wav", sine(300, 40_000))
    write_wav(tmp_path / "b.wav", sine(3000, 8_000))
    (tmp_path / "c.wav").write_bytes(b"")
    units = [WindowUnit("a.wav", 1, 2), WindowUnit("c.wav", 0, 1), WindowUnit("b.wav", 0, 1)]
    labels = label_windows(predictor, str(tmp_path), units, top=3)
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


def test_only_bad_files_give_no_scores(predictor, tmp_path):
    labels = label_windows(predictor, str(tmp_path), [WindowUnit("missing.wav", 0, 1)])
    assert (labels.scores, labels.scored, labels.windows) == ([], 0, [0])
    assert labels.rejects[0].reason == "missing"


def test_lines_of_scores():
    score = Score('=a,"b".wav', 0.0, 1 / 3, "left", 0.98765449, 1)
    assert csv_header(1) == "path,start_seconds,end_seconds,label,probability\n"
    assert score_lines([score], 1) == '"./=a,""b"".wav",0.000000,0.333333,left,0.987654\n'
    assert csv_header(2) == "path,start_seconds,end_seconds,label,probability,rank\n"
    assert score_lines([score], 2) == '"./=a,""b"".wav",0.000000,0.333333,left,0.987654,1\n'
    assert score_lines(Labels([], [], [], 0, []).scores, 1) == ""
