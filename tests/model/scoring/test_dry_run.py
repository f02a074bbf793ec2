import numpy as np
import pytest

from features.errors import UsageError
from features.frontend.spec import FeatureSpec
from features.frontend.windows import Windowing
from model.scoring.dry_run import describe
from model.scoring.low_rates import low_rates
from model.scoring.plan import plan_batches
from model.scoring.request import Request
from tests.conftest import call
from tests.features.networks.small import small_spec
from tests.signals import noise, write_wav

SPEC = FeatureSpec(
    front_end="stft", sample_rate_hz=16_000, clip_seconds=1.0, window_samples=128, hop_samples=64, fft_samples=128
)


def test_recordings_below_the_rate_of_the_model_are_told_folder_by_folder(tmp_path):
    rates = {"a": 15_999, "b": 16_000, "one/c": 8_000, "one/d": 11_025, "one/two/e": 48_000, "one/two/f": 8_000}
    for name, rate_hz in rates.items():
        write_wav(tmp_path / f"{name}.wav", noise(4_000), rate_hz)
    (tmp_path / "one/none.wav").write_bytes(b"no sound " * 20)
    paths = [*(f"{name}.wav" for name in rates), "one/none.wav"]
    assert low_rates(plan_batches(str(tmp_path), paths, SPEC, Windowing()), SPEC) == [
        "1 recording of 15,999 Hz, below the 16,000 Hz of the model: its bands above 7,999 Hz are empty there",
        "2 recordings in one of 8,000 to 11,025 Hz, below the 16,000 Hz of the model: its bands above 5,512 Hz are "
        "empty there",
        "1 recording in one/two of 8,000 Hz, below the 16,000 Hz of the model: its bands above 4,000 Hz are empty "
        "there",
    ]


def test_of_a_front_end_that_runs_a_network_it_is_what_this_hears(tmp_path):
    write_wav(tmp_path / "a.wav", noise(4_000), 4_000)
    assert low_rates(plan_batches(str(tmp_path), ["a.wav"], small_spec(), Windowing()), small_spec()) == [
        "1 recording of 4,000 Hz, below the 8,000 Hz of the model: what its network hears above 2,000 Hz is empty there"
    ]


def test_many_folders_of_low_rates_end_in_one_line(tmp_path):
    for folder in range(13):
        write_wav(tmp_path / f"{folder:02d}" / "a.wav", noise(80), 8_000)
    paths = [f"{folder:02d}/a.wav" for folder in range(13)]
    lines = low_rates(plan_batches(str(tmp_path), paths, SPEC, Windowing()), SPEC)
    assert (len(lines), lines[-1]) == (11, "3 recordings in 3 more folders below the model's rate")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_dry_run_says_what_a_run_then_does_and_writes_nothing(
    untrained, tmp_path, capsys, caplog, monkeypatch, workers
):
    monkeypatch.setattr("model.scoring.dry_run._FILES_OF_A_JOB", 3)  # jobs for two workers
    source, labels = tmp_path / "source", tmp_path / "labels.csv"
    lengths_seconds = np.array([0.3, 1, 2.5, 40, 1.01])  # the last window of the last one is too short
    for number, seconds in enumerate(lengths_seconds.tolist()):
        write_wav(source / f"{number}.wav", noise(round(16_000 * seconds)), 16_000)
    write_wav(source / "telephone" / "low.wav", noise(8_000), 8_000)
    (source / "none.wav").write_bytes(b"no sound " * 20)
    (source / "notes.txt").write_text("left out")
    options = ("--model", untrained, "--input", source, "--output", labels, "--workers", workers)
    assert call("pipelines.score", *options, "--dry-run") == 0
    said = capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]
    assert f"7 files of {source}, 45.8 s of audio, 47 windows; headers that cannot be read: 1; other rejects: 0" in said
    assert "1 recording in telephone of 8,000 Hz, below the 16,000 Hz of the model" in said
    assert "nothing was written" in said
    planned = describe(Request(run=str(untrained), input=str(source), output=str(labels)))[1]
    assert 0 < planned["estimated_seconds"] < 60
    assert planned["audio_seconds"] == pytest.approx(lengths_seconds.sum() + 1)
    assert call("pipelines.score", *options) == 0
    assert "7 files in = 6 scored + 1 rejected; 45.8 s of audio, 47 windows in " in capsys.readouterr().out
    assert any("warning: 1 recording in telephone of 8,000 Hz" in message for message in caplog.messages)
    assert len(labels.read_text().splitlines()) == 48
    again = describe(Request(run=str(untrained), input=str(source), output=str(labels)))[0]
    assert (again[0][:11], again[-1]) == ("7 stay as /", f"nothing is new, and {labels} would stay as it is")


def test_a_dry_run_refuses_what_the_run_would_refuse(untrained, tmp_path):
    write_wav(tmp_path / "source" / "a.wav", noise(16_000), 16_000)
    request = Request(run=str(untrained), input=str(tmp_path / "source"), output=str(tmp_path / "labels.txt"))
    with pytest.raises(UsageError, match="whose name ends in"):
        describe(request)
