"""Holds the README to what it says: its commands parse, its code runs, its files are there."""

import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.conftest import call

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python -m (\S+) (.*)$", README, flags=re.MULTILINE)
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
TOML = re.findall(r"^```toml\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("module", "arguments"), COMMANDS)
def test_commands_are_understood(module, arguments):
    _, unknown = import_module(module).parser().parse_known_args(shlex.split(arguments))
    assert not unknown


def test_every_command_of_the_flow_is_shown():
    assert {module for module, _ in COMMANDS} >= {
        "pipelines.featurize",
        "model.train",
        "model.evaluate",
        "model.predict",
        "model.export",
        "features.prune",
        "features.show",
        "features.verify",
        "pipelines.download",
        "pipelines.score",
    }


@pytest.mark.parametrize("block", [block for block in BLOCKS if "manifest" in block])
def test_code_reads_the_shards_without_soundmill(block, tmp_path, feature_set, parquet_set):
    assert "soundmill" not in block and "from features" not in block
    (tmp_path / "speech-features").symlink_to(feature_set)
    (tmp_path / "speech-parquet").symlink_to(parquet_set)
    result = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("_nohash_0.wav") == 3
    assert "124, 129)" in result.stdout


@pytest.mark.trial
def test_code_uses_an_export_without_soundmill(tmp_path, trained, words):
    [block] = [block for block in BLOCKS if "saved_model" in block]
    assert call("model.export", "--model", trained, "--output", tmp_path / "exported") == 0
    shutil.copy(sorted(words.glob("low/*.wav"))[0], tmp_path / "clip.wav")
    result = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[0] in ("[b'high']", "[b'low']", "[b'middle']")
    assert 1 / 3 < float(result.stdout.split()[-1].strip("[]")) <= 1


def test_the_tensorflow_reader_takes_ten_lines_at_most():
    assert [len(block.strip().splitlines()) for block in BLOCKS if "TFRecordDataset" in block] <= [10]


@pytest.mark.parametrize("text", TOML)
def test_the_spec_of_the_readme_is_a_spec(text, tmp_path):
    from features.frontend.presets import load_spec

    path = tmp_path / "spec.toml"
    path.write_text(text, encoding="utf-8")
    assert load_spec(str(path)).front_end == "mfcc"


@pytest.mark.parametrize("module", ["pipelines.featurize", "model.train", "pipelines.score"])
def test_folders_with_our_names_hide_nothing(module, tmp_path):
    for folder in ("features/shards", "model/logs", "pipelines/parts"):
        (tmp_path / folder).mkdir(parents=True)
    result = subprocess.run([sys.executable, "-m", module, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
