"""What a user did not request is not done: no command looks up a name of the network or leaves an id behind."""

import pytest

from tests.conftest import run_command
from tests.network import NetworkWatch

# Settings of their own, and lists of fonts, that they write where their users know them.
KNOWN = (".keras", ".cache/matplotlib", ".config/matplotlib")


@pytest.mark.parametrize("executor", ["openvino", pytest.param("litert", marks=pytest.mark.trial)])
def test_scoring_looks_up_no_name_and_writes_nothing_into_the_home_folder(words, run_folder, tmp_path, executor):
    watch = NetworkWatch(tmp_path)
    run_command(
        "pipelines.score", "--model", run_folder, "--input", words, "--output", tmp_path / "labels.csv",
        "--executor", executor, env=watch.environment,
    )  # fmt: skip
    assert (watch.attempts(), watch.written_into_home()) == ([], [])


@pytest.mark.trial
def test_featurize_and_all_that_follows_look_up_no_name(words, tmp_path):
    watch = NetworkWatch(tmp_path)
    features, run = tmp_path / "features", tmp_path / "run"
    clip = next(words.glob("*/*.wav"))
    for command in (
        ("pipelines.featurize", "--input", words, "--output", features, "--workers", 2),
        ("model.train", "--features", features, "--output", run, "--network", "mlp", "--epochs", 1),
        ("model.evaluate", "--model", run, "--features", features),
        ("model.predict", "--model", run, clip),
        ("model.export", "--model", run, "--output", tmp_path / "exported"),
    ):
        run_command(*command, env=watch.environment)
    assert watch.attempts() == []
    parents = {".cache", ".config"}
    assert [path for path in watch.written_into_home() if path not in parents and not path.startswith(KNOWN)] == []
