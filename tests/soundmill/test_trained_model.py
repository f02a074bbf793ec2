import csv
import json
import logging
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

import soundmill
from tests.conftest import call
from tests.signals import chirp, noise, sine, write_wav

COLUMNS = ["path", "start_seconds", "end_seconds", "label", "probability"]
SECOND = 16_000
UNUSABLE = (
    r"^4 of 5 .* \(.*text\.wav: not_audio, .*none\.wav: missing, .*empty\.wav: empty, .*; and 1 more\); .*rejects="
)
# Around the length of windows, and more than one batch of them.
LENGTHS = (1, SECOND - 1, SECOND, SECOND + 1, 3 * SECOND, 3 * SECOND + 1, 300 * SECOND)


@pytest.fixture(scope="module")
def model(run_folder):
    return soundmill.load_model(run_folder)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("recordings")
    for length in LENGTHS:
        write_wav(root / f"{length:07d}.wav", noise(length, seed=length) + sine(300, length))
    write_wav(root / "stereo 44k.wav", np.stack([sine(300, 66_150, 44_100), noise(66_150)], axis=1), 44_100)
    write_wav(root / "telephone.wav", chirp(20_001, 8_000), 8_000)
    soundfile.write(root / "lossless.flac", sine(1_000, 20_000), SECOND)
    return root


def csv_rows(run: Path, source: Path, output: Path, *options: object) -> list[dict[str, str]]:
    assert call("pipelines.score", "--model", run, "--input", source, "--output", output, *options) == 0
    with open(output, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def as_csv(table, root: Path | None = None) -> list[dict[str, str]]:
    """The rows of a table as the CSV has them."""
    return [
        {name: f"{value:.6f}" if isinstance(value, float)
         else str(Path(value).relative_to(root)) if name == "path" and root else str(value)
         for name, value in row.items()}
        for row in table.to_pylist()
    ]  # fmt: skip


def test_the_thresholds_are_those_of_the_artifact(model, run_folder, tmp_path):
    assert model.thresholds is None
    run = shutil.copytree(run_folder, tmp_path / "run")
    path = run / "model" / "artifact.json"
    thresholds = {"high": 0.5, "low": None, "middle": 0.25}
    calibration = {"thresholds": thresholds, "target_precision": 0.9}
    path.write_text(json.dumps({**json.loads(path.read_text()), **calibration}))
    assert soundmill.load_model(run).thresholds == thresholds


@pytest.mark.parametrize("top", [pytest.param(1, marks=pytest.mark.trial), 3])
def test_files_get_the_numbers_of_the_csv(model, run_folder, recordings, tmp_path, top):
    rows = csv_rows(run_folder, recordings, tmp_path / "labels.csv", "--top", top)
    paths = sorted(recordings.iterdir())
    table = model.predict(paths, top=top)
    assert table.column_names == COLUMNS + (["rank"] if top > 1 else [])
    assert as_csv(table, recordings) == rows
    # A last window of one sample is left out, but a recording of one sample is not.
    assert len(rows) == top * (sum(max(1, round(length / SECOND)) for length in LENGTHS) + 2 + 3 + 2)
    backwards = model.predict(paths[::-1], top=top)
    assert sorted(map(str, backwards.to_pylist())) == sorted(map(str, table.to_pylist()))
    assert backwards["path"].to_pylist()[0] == str(paths[-1])


@pytest.mark.parametrize("length", LENGTHS)
def test_a_waveform_gets_the_numbers_of_its_file(model, recordings, length):
    path = recordings / f"{length:07d}.wav"
    samples, rate = soundfile.read(path, dtype="float32")
    of_file, of_samples = model.predict(path, top=3), model.predict(samples, rate, top=3)
    assert of_samples.drop_columns("path") == of_file.drop_columns("path")
    assert of_samples["path"].null_count == len(of_samples)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["stereo 44k.wav", "telephone.wav", "lossless.flac"])
def test_channels_and_rates_of_a_waveform_are_those_of_its_file(model, recordings, name, dtype):
    samples, rate = soundfile.read(recordings / name, dtype=dtype)
    of_file, of_samples = model.predict(recordings / name), model.predict(samples, sample_rate_hz=rate)
    assert of_samples.drop_columns("path") == of_file.drop_columns("path")


def test_one_path_and_what_else_names_paths(model, recordings):
    path = recordings / "telephone.wav"
    table = model.predict(str(path))
    assert set(table["path"].to_pylist()) == {str(path)}
    frame = table.to_pandas()
    assert list(frame.columns) == COLUMNS
    for paths in (path, [path], (str(path),), iter([path]), np.array([str(path)]), frame.path[:1]):
        assert model.predict(paths) == table
    assert model.predict([path, path]).num_rows == 2 * table.num_rows
    empty = model.predict([])
    assert (empty.num_rows, empty.schema) == (0, table.schema)


def test_names_that_are_not_text(model, recordings, tmp_path):
    content = (recordings / "telephone.wav").read_bytes()
    for name in ("back\\slash.wav", "=formula.wav", "latin \udce9.wav", "new\nline.wav"):
        (tmp_path / name).write_bytes(content)
    paths = sorted(map(str, tmp_path.iterdir()))
    shown = list(dict.fromkeys(model.predict(paths)["path"].to_pylist()))
    assert [name.rpartition("/")[2] for name in shown] == [
        "=formula.wav", "back\\slash.wav", "latin \\xe9.wav", "new\nline.wav",
    ]  # fmt: skip


def test_a_file_that_cannot_be_used_is_an_error_or_in_the_list(model, recordings, tmp_path):
    good = recordings / "telephone.wav"
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_bytes(b"no sound " * 20)
    paths = [tmp_path / "text.wav", good, tmp_path / "none.wav", tmp_path / "empty.wav", tmp_path / "none too.wav"]
    with pytest.raises(soundmill.UsageError, match=UNUSABLE):
        model.predict(paths)
    rejects: list[soundmill.Reject] = []
    assert model.predict(paths, rejects=rejects) == model.predict(good)
    found = [(reject.path, reject.reason) for reject in rejects]
    reasons = ("not_audio", "missing", "empty", "missing")
    assert found == [(str(path), reason) for path, reason in zip([paths[0], *paths[2:]], reasons, strict=True)]


def test_a_long_file_that_fails_late_is_left_out_whole(model, recordings, tmp_path):
    loud = np.full(300 * SECOND, 0.5, np.float32)
    loud[290 * SECOND] = np.inf
    soundfile.write(tmp_path / "loud.wav", loud, SECOND, subtype="FLOAT")
    rejects: list[soundmill.Reject] = []
    good = recordings / "telephone.wav"
    assert model.predict([tmp_path / "loud.wav", good], rejects=rejects) == model.predict(good)
    assert [reject.reason for reject in rejects] == ["not_finite"]


def test_odd_files_are_labelled_with_a_warning(model, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("soundmill"), "propagate", True)
    silent, half = tmp_path / "silent.wav", tmp_path / "half.wav"
    write_wav(silent, np.zeros(300 * SECOND, np.float32))
    write_wav(half, np.concatenate([np.zeros(SECOND, np.float32), noise(SECOND)]))
    assert model.predict([silent, half]).num_rows == 302
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [f"{silent}: silent"]


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (noise(SECOND), {}, "does not say its sample rate; give it: sample_rate_hz="),
        (noise(SECOND), {"sample_rate_hz": 0}, "sample_rate_hz is a whole number from 100 to 768,000, not 0"),
        (noise(SECOND), {"sample_rate_hz": 44_100.5}, "a whole number"),
        (noise(SECOND), {"sample_rate_hz": True}, "a whole number"),
        (noise(SECOND), {"sample_rate_hz": "16000"}, "a whole number"),
        (np.zeros(0, np.float32), {"sample_rate_hz": SECOND}, r"has shape \(samples,\) or .*, not \(0,\)"),
        (np.zeros((1, 2, 3), np.float32), {"sample_rate_hz": SECOND}, r"not \(1, 2, 3\)"),
        (np.zeros((2, SECOND), np.float32), {"sample_rate_hz": SECOND}, "more channels than samples: .* transpose it"),
        (np.zeros(SECOND, np.int16), {"sample_rate_hz": SECOND}, "floats .* not int16; divide .* by 32768"),
        (np.full(SECOND, np.nan, np.float32), {"sample_rate_hz": SECOND}, "finite numbers"),
        (np.full(SECOND, 1e300), {"sample_rate_hz": SECOND}, "finite numbers"),
        (np.full(SECOND, 3e38, np.float32), {"sample_rate_hz": 8_000}, "cannot be used: "),
        (noise(SECOND), {"sample_rate_hz": SECOND, "top": 0}, "top is 1 to 3, the number of classes, not 0"),
        (noise(SECOND), {"sample_rate_hz": SECOND, "top": 4}, "not 4"),
        ("file.wav", {"sample_rate_hz": SECOND}, "is that of a waveform"),
        (["file.wav"], {"top": 4}, "not 4"),
        ("\0.wav", {}, "null character"),
        ("/", {}, "is a folder"),
        ("/dev/null", {}, "a pipe or a device"),
    ],
)
def test_what_cannot_be_labelled_is_said(model, samples, options, message):
    with pytest.raises(soundmill.UsageError, match=message):
        model.predict(samples, **options)


def test_a_model_knows_its_classes_and_front_end(model, run_folder, feature_set):
    assert model.classes == ["high", "low", "middle"]
    assert model.spec == soundmill.open_features(feature_set).spec
    assert repr(model) == f"TrainedModel(folder={run_folder!r})"


def test_what_is_not_a_run_is_named(tmp_path, feature_set):
    with pytest.raises(soundmill.UsageError, match="no such run folder"):
        soundmill.load_model(tmp_path / "none")
    with pytest.raises(soundmill.UsageError, match="is not a run folder"):
        soundmill.load_model(str(feature_set))


@pytest.mark.parametrize("executor", [pytest.param("litert", marks=pytest.mark.trial), "openvino"])
def test_four_threads_get_what_one_gets(run_folder, executor):
    model = soundmill.load_model(run_folder, executor=executor)
    signals = [noise(20 * SECOND, seed=seed) for seed in range(4)]
    expected = [model.predict(signal, SECOND) for signal in signals]
    found: dict[int, list[object]] = {}

    def work(number: int) -> None:
        found[number] = [model.predict(signals[number], SECOND) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: [expected[number]] * 5 for number in range(4)} == found


def test_a_model_without_a_clip_length_takes_a_waveform_whole(words, tmp_path):
    from tests.model.untrained import save_untrained

    features = tmp_path / "set"
    assert call("pipelines.featurize", "--input", words, "--output", features, "--preset", "urbansound-mfcc") == 0
    model = soundmill.load_model(save_untrained(tmp_path / "run", features, name="mlp"))
    path = write_wav(tmp_path / "long.wav", noise(50_001))
    samples, rate = soundfile.read(path, dtype="float32")
    table = model.predict(samples, rate)
    assert table.num_rows == 1
    assert table.drop_columns("path") == model.predict(path).drop_columns("path")
