"""No command goes by a clips table that is not the one that was committed."""

import json
import shutil

import pytest

from features.errors import RunError
from features.store.manifest import load_manifest
from model.formats.parity import real_signals
from model.formats.saved_model import reads_file
from tests.conftest import call
from tests.features.store.test_clips_table import change_a_value

# Without validation, training holds groups out by the table.
SPLIT = ("--split", "80/0/20")


@pytest.fixture(scope="module")
def made(old_words, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "set"
    call("pipelines.featurize", "--input", old_words, "--output", folder, *SPLIT)
    return folder


@pytest.fixture
def changed(made, tmp_path):
    folder = shutil.copytree(made, tmp_path / "set")
    change_a_value(folder)
    return folder


@pytest.mark.parametrize("command", ["show", "picture", "verify", "train", "featurize"])
def test_it_is_refused(old_words, changed, tmp_path, command):
    arguments = {
        "show": ("features.show", changed),
        "picture": ("features.show", changed, "--output", tmp_path / "overview.png"),
        "verify": ("features.verify", changed),
        "train": (
            "model.train",
            "--features",
            changed,
            "--output",
            tmp_path / "run",
            "--epochs",
            1,
            "--network",
            "mlp",
        ),
        "featurize": ("pipelines.featurize", "--input", old_words, "--output", changed, *SPLIT),
    }[command]
    table = changed / load_manifest(changed).clips_file
    with pytest.raises(RunError, match=f"the clips table {table} is not the one that was committed"):
        call(*arguments)
    assert not (tmp_path / "overview.png").exists()
    assert not (tmp_path / "run").exists()


def test_an_export_is_not_compared_on_clips_of_it_and_says_why(made, changed, tmp_path):
    spec = load_manifest(made).spec
    (tmp_path / "config.json").write_text(json.dumps({"features": str(made)}))
    signals, reason = real_signals(tmp_path, spec, reads_file)
    assert (len(signals), reason) == (8, "")
    (tmp_path / "config.json").write_text(json.dumps({"features": str(changed)}))
    signals, reason = real_signals(tmp_path, spec, reads_file)
    assert signals == []
    assert f"the clips table {changed / load_manifest(changed).clips_file} is not the one that was committed" in reason
