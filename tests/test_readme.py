"""Holds the pages to what they say: their commands parse, their code runs, the files that they name are there."""

import hashlib
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.frontend.presets import NETWORKS, PRESETS, load_spec
from model.formats.run_it import run_it
from model.inference.artifact import read_description
from model.labels.labels import LabelRules, labels_table
from model.labels.table_output import csv_header, csv_rows
from model.labels.window_rows import WindowRows
from soundmill.command import COMMANDS as SCRIPT_COMMANDS
from tests.conftest import call
from tests.features.networks.small import small_network

ROOT = Path(__file__).parents[1]
FOLDERS = ("", "features/", "model/", "pipelines/", "benchmarks/")
PAGES = {name: (ROOT / name).read_text(encoding="utf-8")
         for name in ("CONTRIBUTING.md", *(f"{folder}README.md" for folder in FOLDERS))}  # fmt: skip


def blocks(language: str) -> list[str]:
    """The blocks of a language on all pages."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
    return [block for text in PAGES.values() for block in pattern.findall(text)]


LINES = [line for block in blocks("sh") for line in block.splitlines()]
# Modules and options, however the command is started.
COMMANDS = [
    *(match.groups() for line in LINES if (match := re.match(r"python -m ([a-z_.]+) (.*)$", line))),
    *(
        (SCRIPT_COMMANDS[match[1]][0], match[2])
        for line in LINES
        if (match := re.match(r"soundmill (\w+) (.*)$", line))
    ),
]
BLOCKS, TOML = blocks("python"), blocks("toml")
# A file or a folder of the checkout: with a folder in it, or one of those at the top.
FILES = re.compile(r"`((?:features|model|pipelines|soundmill|tests|benchmarks|findings|\.ci)/[\w./-]*|[A-Z]+\.md)`")


@pytest.mark.parametrize(("module", "arguments"), [pair for pair in COMMANDS if not pair[0].startswith("tests.")])
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


def test_the_table_of_commands_is_that_of_the_script():
    rows = re.findall(r"^\| `soundmill (\w+)` \| `([\w.]+)` \|", PAGES["README.md"], flags=re.MULTILINE)
    assert dict(rows) == {name: module for name, (module, _) in SCRIPT_COMMANDS.items()}


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_are_there(page):
    # A run folder and a set have folders named like ours, which the pages name with their own names before them.
    named = [name for name in FILES.findall(PAGES[page]) if name not in ("model/", "features/")]
    assert [name for name in named if not (ROOT / name).exists() and not ((ROOT / page).parent / name).exists()] == []


def test_the_first_page_is_short():
    assert len(PAGES["README.md"].splitlines()) <= 170


@pytest.mark.parametrize("block", [block for block in BLOCKS if "manifest" in block])
def test_code_reads_the_shards_without_soundmill(block, tmp_path, feature_set, parquet_set):
    assert "soundmill" not in block and "from features" not in block
    (tmp_path / "speech-features").symlink_to(feature_set)
    (tmp_path / "speech-parquet").symlink_to(parquet_set)
    result = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("_nohash_0.wav") == 3
    assert "124, 129)" in result.stdout


def test_code_reads_labels_into_pandas_as_they_are(tmp_path, monkeypatch):
    [block] = [block for block in BLOCKS if "pd.read_csv" in block]
    labels = ["yes", "01", "NA", "null", "1e5", "", "True", "-5dB", "'=1", "''", "a,b", 'a "b"', "a\nb", "\x1b", "日本"]
    rules, count = LabelRules(labels), len(labels)
    paths = [f"{number}.wav" for number in range(count)]
    places = np.zeros(count), np.ones(count)
    rows = WindowRows(paths, np.ones(count, np.int64), *places, np.eye(count, dtype=np.float32) / 2)
    content = csv_header(rules.schema) + csv_rows(labels_table(rows, rules))
    (tmp_path / "labels.csv").write_text(content, encoding="utf-8", newline="")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["labels"]["label"].to_list() == labels
    assert names["labels"]["probability"].dtype == float


@pytest.mark.trial
@pytest.mark.parametrize("format_name", ["saved_model", "litert", "onnx"])
def test_code_uses_an_export_without_soundmill(tmp_path, trained, words, format_name):
    spec = read_description(trained).spec
    [block] = [block for block in BLOCKS if block == run_it(format_name, spec, "exported/")]
    assert call("model.export", "--model", trained, "--output", tmp_path / "exported", "--format", format_name) == 0
    shutil.copy(sorted(words.glob("low/*.wav"))[0], tmp_path / "clip.wav")
    result = subprocess.run(
        [sys.executable, "-I", "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    label, probability = result.stdout.split()
    assert label in ("high", "low", "middle")
    assert 1 / 3 < float(probability) <= 1


def test_the_tensorflow_reader_takes_ten_lines_at_most():
    assert [len(block.strip().splitlines()) for block in BLOCKS if "TFRecordDataset" in block] <= [10]


@pytest.mark.parametrize("text", TOML)
def test_the_specs_of_the_pages_are_specs(text, tmp_path, monkeypatch):
    network, path = small_network(), tmp_path / "spec.toml"
    for name in re.findall(r'^network_file = "(.+?)"', text, flags=re.MULTILINE):
        (tmp_path / name).write_bytes(network)
    for preset in NETWORKS:
        monkeypatch.setitem(PRESETS[preset], "network_sha256", hashlib.sha256(network).hexdigest())
    path.write_text(text, encoding="utf-8")
    spec = load_spec(str(path)).spec
    assert spec.front_end == ("embedding" if "network_file" in text else "mfcc")


@pytest.mark.parametrize("module", ["pipelines.featurize", "model.train", "pipelines.score"])
def test_folders_with_our_names_hide_nothing(module, tmp_path):
    for folder in ("features/shards", "model/logs", "pipelines/parts"):
        (tmp_path / folder).mkdir(parents=True)
    result = subprocess.run([sys.executable, "-m", module, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
