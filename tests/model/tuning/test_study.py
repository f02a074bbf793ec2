"""A search, with trainings of a few steps each."""

import csv
import importlib.util
import json
import re
import resource

import matplotlib.image
import optuna
import pytest

from features.errors import RunError, UsageError
from features.store.manifest import load_manifest
from model.training.history import read_history
from model.training.recipes import read_recipe
from model.training.run_folder import read_config
from model.tuning import study as module
from model.tuning.study import tune
from tests.conftest import call
from tests.signals import noise, write_wav, write_words

SEARCH = "learning_rate = {low = 1e-4, high = 1e-1, log = true}\nbatch_size = {choices = [4, 8]}\n"
GIVEN = {"network": "mlp", "epochs": 2, "patience": 0}


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    """A set of ten speakers, of features without frames."""
    root = tmp_path_factory.mktemp("tuning")
    words = write_words(root / "words", speakers=10)
    options = ("--preset", "urbansound-mfcc", "--split", "80/20/0")
    assert call("pipelines.featurize", "--input", words, "--output", root / "set", *options) == 0
    return root / "set"


@pytest.fixture(scope="module")
def ranges(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranges") / "ranges.toml"
    path.write_text(SEARCH)
    return str(path)


def opened(folder) -> optuna.Study:
    return optuna.load_study(storage=f"sqlite:///{folder / 'study.db'}", study_name="soundmill")


@pytest.fixture(scope="module")
def searched(small_set, ranges, tmp_path_factory):
    """A study of three trials, in whose second one its process died."""
    folder = tmp_path_factory.mktemp("studies") / "study"
    tune(str(small_set), str(folder), 1, GIVEN, search=ranges)
    trial = opened(folder).ask()
    trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
    trial.suggest_categorical("batch_size", (4, 8))
    trial.set_user_attr("run", "trial-0001")
    options = ("--network", "mlp", "--epochs", 2, "--patience", 0, "--search", ranges)
    summary = folder.parent / "summary.json"
    assert call("model.tune", "--features", small_set, "--output", folder, "--trials", 3, "--summary", summary,
                *options) == 0  # fmt: skip
    return folder, trial.params, json.loads(summary.read_text())


def test_a_study_has_the_trials_that_were_asked_for(searched):
    folder, unfinished, figures = searched
    with open(folder / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["trial-0000", "trial-0001", "trial-0003"]
    assert {row["state"] for row in rows} == {"complete"}
    assert float(rows[1]["learning_rate"]) == unfinished["learning_rate"]
    assert int(rows[1]["batch_size"]) == unfinished["batch_size"]
    for row in rows:
        schedule = read_config(folder / row["run"])["settings"].schedule
        assert (schedule.learning_rate, schedule.batch_size) == (float(row["learning_rate"]), int(row["batch_size"]))
        history = read_history(folder / row["run"] / "history.csv")
        assert len(history) == 2
        best = min(history, key=lambda one: one["val_loss"])
        assert float(row["accuracy"]) == pytest.approx(best["val_accuracy"], abs=1e-6)
    assert figures["accuracy"] == pytest.approx(max(float(row["accuracy"]) for row in rows), abs=1e-6)


def test_the_best_recipe_is_that_of_the_best_run(searched):
    folder, _, figures = searched
    recipe = read_recipe(str(folder / "recipe.toml"))
    assert recipe["network"] == "mlp"
    assert {name: recipe[name] for name in ("learning_rate", "batch_size")} == figures["best"]
    assert recipe == read_recipe(figures["best_run"] + "/recipe.toml")
    assert (folder / "search.toml").read_text().endswith(SEARCH.replace("1e-4", "0.0001").replace("1e-1", "0.1"))


def test_what_is_asked_for_otherwise_is_refused(searched, small_set, ranges, tmp_path):
    folder = str(searched[0])
    other = tmp_path / "other.toml"
    other.write_text("learning_rate = [0.1, 0.2]\n")
    adam = tmp_path / "adam.toml"
    adam.write_text("weight_decay = [0.0, 0.2]\n")
    for arguments, message in (
        ((folder, 3, {**GIVEN, "epochs": 3}, ranges), "begun with other settings"),
        ((folder, 3, GIVEN, str(other)), "begun with other search"),
        ((folder, 0, GIVEN, ranges), "--trials is at least 1"),
        (
            (str(tmp_path / "new"), 3, {**GIVEN, "batch_size": 4}, ranges),
            "--batch-size is either given or searched",
        ),
        ((str(tmp_path / "new"), 3, {**GIVEN, "validate_on": ()}, ranges), "takes clips to validate on"),
        ((str(tmp_path / "new"), 3, GIVEN, str(adam)), "with --optimizer adam give --weight-decay 0"),
        ((str(tmp_path), 3, GIVEN, ranges), "not the folder of a search"),
    ):
        with pytest.raises(UsageError, match=message):
            tune(str(small_set), *arguments)
    assert not (tmp_path / "new").exists()


def test_what_is_given_is_not_searched_by_default_and_what_is_searched_replaces_a_recipe(
    small_set, ranges, tmp_path, capsys
):
    with pytest.raises(UsageError, match="nothing is left to search"):
        tune(str(small_set), str(tmp_path / "all"), 1, {**GIVEN, "batch_size": 4, "learning_rate": 0.1})
    (tmp_path / "recipe.toml").write_text("network = 'mlp'\n[schedule]\nepochs = 1\npatience = 0\nbatch_size = 64\n")
    folder = tmp_path / "a study"
    assert call("model.tune", "--features", small_set, "--output", folder, "--trials", 1, "--search", ranges,
                "--config", tmp_path / "recipe.toml") == 0  # fmt: skip
    assert capsys.readouterr().out.endswith(
        f". Next: python -m model.train --features {small_set} --output RUN --config '{folder}/recipe.toml'\n"
    )
    recipe = read_recipe(str(folder / "recipe.toml"))
    assert recipe["epochs"] == 1
    assert recipe["batch_size"] in (4, 8)


def test_a_study_that_cannot_be_written_ends_in_a_line(small_set, ranges, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))  # as on a full disk, the database cannot grow
    try:
        with pytest.raises(RunError) as raised:
            tune(str(small_set), str(tmp_path / "study"), 1, GIVEN, ranges)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert re.fullmatch(rf"cannot write {tmp_path}/study/study\.db: [^\n;]+; make room there .*", str(raised.value))


@pytest.mark.trial
def test_a_trial_that_draws_no_noise_takes_no_folder_of_it(feature_set, tmp_path):
    write_wav(tmp_path / "noises" / "hum.wav", noise(40_000))
    search, folder = tmp_path / "search.toml", tmp_path / "study"
    search.write_text("noise_probability = {choices = [0.5, 0.0]}\n")
    given = {**GIVEN, "epochs": 1, "batch_size": 64}
    figures = tune(str(feature_set), str(folder), 1, given, str(search), noise=str(tmp_path / "noises"))
    assert figures["best"] == {"noise_probability": 0.0}
    assert not (folder / "trial-0000" / "noise.parquet").exists()


def test_a_trial_that_others_beat_is_stopped(small_set, ranges, tmp_path):
    """Ten trials that were right from the first epoch on are put in, and what mattered follows from them."""
    folder, given = tmp_path / "study", {**GIVEN, "epochs": 4, "learning_rate": 1e-9}
    path = tmp_path / "batch.toml"
    path.write_text("batch_size = {choices = [4, 8]}\n")
    folder.mkdir()
    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'study.db'}", study_name="soundmill", direction="maximize"
    )
    clips = load_manifest(small_set).clips_file
    search = "# Ranges of settings: soundmill tune --search takes them.\nbatch_size = {choices = [4, 8]}\n"
    study.set_user_attr("request", {"settings": given, "search": search, "clips": clips})
    distributions = {"batch_size": optuna.distributions.CategoricalDistribution((4, 8))}
    for number in range(10):
        size = (4, 8)[number % 2]
        (folder / f"trial-{number:04d}").mkdir()
        (folder / f"trial-{number:04d}" / "recipe.toml").write_text(
            f"network = 'mlp'\n[schedule]\nbatch_size = {size}\n"
        )
        study.add_trial(optuna.trial.create_trial(
            params={"batch_size": size}, distributions=distributions, value=1.0 - size / 1000 - number / 100_000,
            intermediate_values={epoch: 1.0 for epoch in range(1, 5)}, user_attrs={"run": f"trial-{number:04d}"},
        ))  # fmt: skip
    figures = tune(str(small_set), str(folder), 11, given, search=str(path))
    assert (figures["trials"], figures["stopped_early"]) == (11, 1)
    assert figures["best"] == {"batch_size": 4}
    assert figures["importances"] == {"batch_size": 1.0}
    assert 1 <= len(read_history(folder / "trial-0010" / "history.csv")) < 4
    assert read_recipe(str(folder / "recipe.toml"))["batch_size"] == 4
    picture = matplotlib.image.imread(folder / "importances.png", format="png")
    assert min(picture.shape[:2]) > 200
    assert picture.std(axis=(0, 1))[:3].min() > 0.02


def test_without_optuna_the_command_says_what_to_install(small_set, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "optuna" else importlib.util.find_spec(name))
    with pytest.raises(UsageError, match=r"pip install 'soundmill\[tune\]'"):
        tune(str(small_set), str(tmp_path / "study"), 1, GIVEN)
    assert not (tmp_path / "study").exists()
