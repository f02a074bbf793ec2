import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.audio.decode import probe
from features.errors import RunError, UsageError
from features.frontend.presets import preset
from features.frontend.spec import FeatureSpec
from features.frontend.windows import num_windows, window_waveforms
from features.sources.paths import unescape_path
from model.inference.artifact import Artifact, save_artifact
from model.scoring.predictor import Request, predict, true_label
from tests.conftest import call, run_command
from tests.signals import noise, sine, write_wav

WINDOWED = FeatureSpec(
    front_end="stft", sample_rate_hz=8_000, clip_seconds=0.25, window_samples=128, hop_samples=64, fft_samples=128
)
CLASSES = ["high", "low", "middle"]


def save_dense(run: Path, spec: FeatureSpec) -> Path:
    """A run folder with a small network that was never trained."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [layers.Input((*spec.shape, 1)), layers.Flatten(), layers.Rescaling(0.01), layers.Dense(3)]
    )
    save_artifact(run, Artifact(model, spec, CLASSES, "dense", True, ("training",)))
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return save_dense(tmp_path_factory.mktemp("runs") / "run", WINDOWED)


@pytest.fixture(scope="module")
def pooled_run(tmp_path_factory) -> Path:
    return save_dense(tmp_path_factory.mktemp("runs") / "pooled", preset("urbansound-mfcc"))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("files")
    # More than one batch of windows, the last of them short.
    write_wav(root / "long.wav", np.concatenate([noise(300_000), sine(440, 237_000)]), 8_000)
    write_wav(root / "high" / "stereo.wav", np.stack([sine(3_000, 30_001, 44_100), noise(30_001)], axis=1), 44_100)
    (root / "text.wav").write_bytes(b"no sound " * 20)
    return root


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


@pytest.mark.parametrize(("name", "top"), [("long.wav", 3), ("high/stereo.wav", 1)])
def test_the_lines_are_those_of_score(run, files, tmp_path, capsys, name, top):
    output = tmp_path / "labels.csv"
    assert call("pipelines.score", "--model", run, "--input", files / name, "--output", output, "--top", top) == 0
    capsys.readouterr()
    assert call("model.predict", "--model", run, files / name, "--top", top) == 0
    header, *found = rows(capsys.readouterr().out)
    expected_header, *expected = rows(output.read_text())
    assert header == expected_header
    assert [row[1:] for row in found] == [row[1:] for row in expected]
    assert {row[0] for row in found} == {str(files / name)}
    assert len(found) == (269 if name == "long.wav" else 3) * top


@pytest.mark.trial
def test_a_process_of_its_own_gives_the_digits_of_score(run, files, tmp_path):
    """In one process the threads of whoever computed first would serve both."""
    output = tmp_path / "labels.csv"
    run_command("pipelines.score", "--model", run, "--input", files / "long.wav", "--output", output)
    result = run_command("model.predict", "--model", run, "long.wav", cwd=files, env=environment())
    assert result.stdout == output.read_text()
    assert "Labelled 269 windows of 1 file." in result.stderr


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}


def test_a_file_that_cannot_be_used_is_a_line_and_the_rest_goes_on(run, files, tmp_path, capsys, caplog):
    summary = tmp_path / "summary.json"
    paths = [files / "text.wav", files / "high" / "stereo.wav", files / "nothing.wav"]
    with caplog.at_level("INFO", "soundmill"):
        assert call("model.predict", "--model", run, *paths, "--summary", summary) == 0
    messages = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert messages[0].startswith(f"{paths[0]}: not_audio, ")
    assert messages[1].startswith(f"{paths[2]}: missing, ")
    output = capsys.readouterr()
    assert len(rows(output.out)) == 1 + 3
    assert "2 could not be used" in output.err
    figures = json.loads(summary.read_text())
    assert (figures["scored"], figures["rejected"], figures["windows"]) == (1, 2, 3)
    assert figures["rejects"] == {"missing": 1, "not_audio": 1}


def test_no_usable_file_fails_the_run_without_a_line(run, files, capsys):
    with pytest.raises(RunError, match="no file can be used, of 2"):
        call("model.predict", "--model", run, files / "text.wav", files / "nothing.wav")
    assert capsys.readouterr().out == ""


def test_paths_are_written_as_score_writes_them(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [b"=sum(A1).wav", b"comma, and.wav", b"latin \xe9.wav", b"back\\slash.wav", b"new\nline.wav"]
    content = write_wav(tmp_path / "sound.wav", noise(2_000), 8_000).read_bytes()
    for name in names:
        with open(name, "wb") as file:
            file.write(content)
    assert call("model.predict", "--model", run, *map(os.fsdecode, names)) == 0
    _, *found = rows(capsys.readouterr().out)
    assert [unescape_path(row[0].removeprefix("./")) for row in found] == names
    assert found[0][0] == "./=sum(A1).wav"


def test_the_picture_has_a_row_a_window_up_to_twelve(run, files, tmp_path, capsys, monkeypatch):
    drawn = []
    monkeypatch.setattr("model.pictures.run_pictures.windows_figure", keep_calls(drawn))
    paths = [files / "high" / "stereo.wav", files / "long.wav"]
    picture = tmp_path / "picture.png"
    assert call("model.predict", "--model", run, *paths, "--plot", picture, "--top", 2) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    [(windows, spec, title)] = drawn
    assert title == "The first 12 of 272 windows"
    assert spec == WINDOWED
    assert [Path(window.path).name for window in windows] == ["stereo.wav"] * 3 + ["long.wav"] * 9
    assert [window.true for window in windows] == ["high"] * 3 + [None] * 9
    assert [window.start_seconds for window in windows] == [0, 0.25, 0.5, *np.arange(9) / 4]
    output = capsys.readouterr()
    assert f"Look at {picture}, which shows the first 12." in output.err
    lines = rows(output.out)[1:]
    for window, line in zip(windows, lines[::2], strict=False):
        assert f"{window.probabilities[window.best[0]]:.6f}" == line[4]
        assert window.best[0] == line[3]
        assert sum(window.probabilities.values()) == pytest.approx(1)


def keep_calls(calls: list):
    from model.pictures.run_pictures import windows_figure

    def recorded(windows, *others):
        calls.append((windows, *others))
        return windows_figure(windows[:1], *others)  # one row is drawn sooner than twelve

    return recorded


def test_pooled_features_of_a_whole_file_are_drawn(pooled_run, files, tmp_path, capsys):
    picture = tmp_path / "picture.png"
    assert call("model.predict", "--model", pooled_run, files / "high" / "stereo.wav", "--plot", picture) == 0
    _, row = rows(capsys.readouterr().out)
    assert row[1:3] == ["0.000000", "0.680295"]
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/data/high/one.wav", "high"),
        ("/data/high/low/one.wav", "low"),
        ("/data/low/speaker/one.wav", "low"),
        ("/data/other/high.wav", None),
        ("low/one.wav", "low"),
    ],
)
def test_the_true_class_is_the_nearest_folder_that_is_one(path, label):
    assert true_label(path, CLASSES) == label


def test_a_file_that_is_given_twice_is_labelled_once(run, files, capsys):
    path = files / "high" / "stereo.wav"
    assert call("model.predict", "--model", run, path, path) == 0
    assert len(rows(capsys.readouterr().out)) == 1 + 3


def test_wrong_use_is_refused_in_one_line(run, files, tmp_path):
    sound = files / "long.wav"
    cases = {
        "no such run folder: nowhere": ["--model", "nowhere", sound],
        "is not a run folder": ["--model", tmp_path, sound],
        "--top is 1 to 3, the number of classes, not 4": ["--model", run, sound, "--top", 4],
        "ends in .png, not picture.pdf": ["--model", run, sound, "--plot", "picture.pdf"],
        "make nowhere first": ["--model", run, sound, "--plot", "nowhere/picture.png"],
        "is a folder; label its files with python -m pipelines.score": ["--model", run, files],
    }
    for message, arguments in cases.items():
        with pytest.raises(UsageError, match=message.replace(".", r"\.")) as error:
            call("model.predict", *arguments)
        assert "\n" not in str(error.value)


def test_nothing_heavy_is_loaded_before_files_are_known_to_be_readable(run, files):
    code = (
        "import sys; from model.scoring.predictor import Request, predict\n"
        f"try: predict(Request({str(run)!r}, ({str(files / 'text.wav')!r},)), sys.stdout)\n"
        "except Exception as error: print(error)\n"
        "print({name.partition('.')[0] for name in sys.modules} & {'tensorflow', 'apache_beam', 'matplotlib'})"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment())
    assert result.stdout.splitlines() == ["no file can be used, of 1; the reasons stand above", "set()"]


def test_the_figures_of_a_prediction(run, files):
    figures = predict(Request(str(run), (str(files / "high" / "stereo.wav"),)), io.StringIO())
    assert figures["seconds"] > 0
    assert {**figures, "seconds": 0} == {
        "seconds": 0, "files": 1, "scored": 1, "rejected": 0, "rejects": {}, "windows": 3, "drawn": 0,
        "short_windows": 0, "min_window_seconds": 0.0125, "hop_seconds": None, "tail": "pad",
    }  # fmt: skip


def test_a_file_that_is_damaged_within_is_labelled_and_drawn_with_a_gap(run, tmp_path):
    samples = np.tile(noise(8_000 * 40)[:, None], 8)
    soundfile.write(tmp_path / "gap.flac", samples + noise(samples.size).reshape(samples.shape), 8_000)
    content = bytearray((tmp_path / "gap.flac").read_bytes())
    at = len(content) // 4
    content[at : at + 100_000] = bytes(100_000)
    (tmp_path / "gap.flac").write_bytes(content)
    info = probe(str(tmp_path / "gap.flac"))
    windows = list(window_waveforms(str(tmp_path / "gap.flac"), info, WINDOWED, 0, num_windows(info, WINDOWED)))
    assert 40 < len(windows) < num_windows(info, WINDOWED) == 160
    arguments = ("--model", run, tmp_path / "gap.flac", "--plot", tmp_path / "plot.png")
    assert call("model.predict", *arguments) == 0
    assert (tmp_path / "plot.png").exists()


def test_a_file_is_called_silent_only_where_all_of_it_is(run, tmp_path):
    write_wav(tmp_path / "half.wav", np.concatenate([np.zeros(2_000 * 300, np.float32), noise(2_000)]), 8_000)
    write_wav(tmp_path / "silent.wav", np.zeros(2_000 * 300, np.float32), 8_000)
    done = run_command("model.predict", "--model", run, tmp_path / "half.wav", tmp_path / "silent.wav")
    assert "half.wav: silent" not in done.stderr
    assert "silent.wav: silent, every sample that is used is zero; used all the same" in done.stderr


def test_a_file_that_is_silent_first_and_cut_off_later_is_called_truncated_alone(run, tmp_path, caplog):
    soundfile.write(tmp_path / "cut.flac", np.concatenate([np.zeros(2_000 * 256), noise(2_000 * 40)]), 8_000)
    content = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) * 2 // 3])
    figures = predict(Request(str(run), (str(tmp_path / "cut.flac"),)), io.StringIO())
    assert 256 < figures["windows"] < 296
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(messages) == 1
    assert messages[0].startswith(f"{tmp_path / 'cut.flac'}: truncated, ")


def test_a_pipe_is_refused(run, tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(UsageError, match="is a pipe or a device"):
        predict(Request(str(run), (str(tmp_path / "pipe.wav"),)), io.StringIO())


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("output", [io.StringIO, Screen])
def test_no_name_moves_the_cursor_of_a_terminal(run, tmp_path, output):
    path = write_wav(tmp_path / "a\x1b[2J\n.wav", noise(1_000), 8_000)
    written = output()
    predict(Request(str(run), (str(path),)), written)
    shown = str(path) if output is io.StringIO else str(path).replace("\x1b", "\\x1b").replace("\n", "\\x0a")
    assert [row[0] for row in csv.reader(io.StringIO(written.getvalue(), newline=""))] == ["path", shown]
