import json
import os
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from features.errors import UsageError
from features.io.filesystem import place
from features.store.manifest import load_manifest
from model.evaluation.cross_validation import cross_validate, split_folds
from model.evaluation.evaluator import evaluate
from model.inference.artifact import read_description
from model.inference.calibration import fit_temperature
from model.inference.executor import load_executor
from model.inference.outputs import Outputs
from model.training import linear, linear_scaling
from model.training.history import EachEpoch, read_history
from model.training.l2_choice import GRID, L2Choice, LabelledClips
from model.training.logistic_regression import CONVERGED, WHILE_CHOOSING, Clips, Directions, Solution, solve
from model.training.preview import preview
from model.training.rows import Rows
from model.training.trainer import train
from model.tuning.study import tune
from tests.conftest import call
from tests.loaded_modules import RUN
from tests.signals import noise, write_wav

ONES = np.ones(3, np.float32)
MODEL_FILES = ("network.npz", "network.tflite", "artifact.json")
SPEC = """
front_end = "stft"
sample_rate_hz = 4000
clip_seconds = 1
window_samples = 256
hop_samples = 128
fft_samples = 256
"""


def files(run) -> dict[str, bytes]:
    return {name: (run / "model" / name).read_bytes() for name in MODEL_FILES}


def without_times(run) -> list[dict[str, float]]:
    return [
        {name: value for name, value in row.items() if name != "seconds"} for row in read_history(run / "history.csv")
    ]


@pytest.fixture(scope="module")
def linear_run(feature_set, tmp_path_factory):
    run = tmp_path_factory.mktemp("linear") / "run"
    return run, train(str(feature_set), str(run), {"network": "linear", "test_on": ("testing",)})


def rows_of(folder, *partitions) -> tuple[np.ndarray, np.ndarray]:
    manifest = load_manifest(folder)
    rows = Rows(place(folder), manifest, partitions, manifest.classes)
    contents = list(rows.contents())
    return (
        np.concatenate([one.features for one in contents]).astype(np.float64),
        np.concatenate([rows.class_ids(one) for one in contents]),
    )


def test_a_process_trains_it_without_tensorflow_and_to_the_same_bits(linear_run, parquet_set, tmp_path):
    command = ("model.train", "--features", str(parquet_set), "--network", "linear", "--output", str(tmp_path / "run"))
    threads = {"OPENBLAS_NUM_THREADS": "4", "OMP_NUM_THREADS": "4"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *command], capture_output=True, text=True, env={**os.environ, **threads}
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"LOADED", "scipy", "matplotlib"} <= loaded
    assert not loaded & {"tensorflow", "keras", "apache_beam", "optuna"}
    assert "Trained linear on " in done.stdout
    assert files(tmp_path / "run") == files(linear_run[0])
    assert without_times(tmp_path / "run") == without_times(linear_run[0])


def test_a_run_has_what_other_runs_have(linear_run, trained, feature_set):
    run, figures = linear_run
    others = {"checkpoints", "logs", "trackers", "evaluation"}  # of steps, of the command, and of what came afterwards
    assert {path.name for path in run.iterdir()} == {path.name for path in trained.iterdir()} - others
    assert (run / "layers.txt").read_text().splitlines()[1] == "47,991 parameters, 47,988 multiply-adds a clip"
    assert len(np.unique(matplotlib.image.imread(run / "curves.png")[..., :3].reshape(-1, 3), axis=0)) > 20
    assert json.loads((run / "config.json").read_text())["settings"]["network"] == "linear"
    history = read_history(run / "history.csv")
    assert list(history[0]) == ["epoch", "l2", "loss", "accuracy", "val_loss", "val_accuracy", "val_clips", "seconds"]
    assert [row["l2"] for row in history] == list(GRID[: len(history)])
    best = min(history, key=lambda row: row["val_loss"])
    assert (figures["best_epoch"], figures["l2"]) == (best["epoch"], best["l2"])
    assert (figures["accuracy"], figures["loss"]) == (best["val_accuracy"], best["val_loss"])
    assert len(history) in (best["epoch"] + 2, len(GRID)), "two that are no better are the patience"
    assert (figures["parameters"], figures["clips"]) == (47_991, load_manifest(feature_set).rows(["training"]))
    assert figures["testing_accuracy"] > 0.9
    assert read_description(run).calibration.temperature == figures["temperature"] != 1


def test_its_logits_are_those_of_the_penalty_that_is_best_on_validation(linear_run, feature_set):
    run, figures = linear_run
    features, ids = rows_of(feature_set, "training")
    mean, variance = load_manifest(feature_set).statistics["training"].by_band()

    def standard(values):
        return ((values - mean) / np.sqrt(variance)).reshape(len(values), -1)

    directions = Directions.of(standard(features))
    clips = Clips(directions.along(standard(features)), ids, np.full(len(ids), 1 / len(ids)))
    with threadpool_limits(limits=1):
        solution = solve(clips, directions, figures["l2"], Solution.zeros(len(directions.squares), 3), CONVERGED)
    tested, _ = rows_of(feature_set, "validation", "testing")
    expected = standard(tested) @ directions.weights(solution) + solution.bias
    np.testing.assert_allclose(
        load_executor(run).outputs(tested.astype(np.float32)), expected, atol=2e-3 * np.abs(expected).max()
    )


def test_the_folder_is_evaluated_like_any_other(linear_run, feature_set):
    metrics = evaluate(str(linear_run[0]), str(feature_set), ("testing",))
    assert metrics["accuracy"] == linear_run[1]["testing_accuracy"]
    assert metrics["training"]["accuracy"] == linear_run[1]["training_accuracy"]
    assert metrics["training"]["clips"] == linear_run[1]["clips"]


def made(groups: int = 12) -> LabelledClips:
    generator = np.random.default_rng(4)
    ids = np.repeat(np.arange(3), 40)
    features = generator.normal(size=(120, 8)) + 1.2 * np.eye(3, 8)[ids]
    return LabelledClips(features, ids, [f"g{number % groups}" for number in range(120)])


@pytest.mark.parametrize("groups", [2, 3, 12])
def test_inner_folds_measure_each_clip_by_weights_that_never_met_its_group(groups):
    learnt = made(groups)
    with threadpool_limits(limits=1):
        choice = L2Choice(learnt, ONES, None, seed=0)
        assert choice.folds == min(5, groups)
        [tried] = choice.tried((0.01,))
        assert tried.solution is None
        assert choice.is_measured.all()
        assert tried.row["val_accuracy"] == np.mean(tried.logits.argmax(axis=1) == learnt.ids)
        names = np.array(learnt.groups)
        found = []
        for group in np.unique(names):
            own = [fit for fit in choice._fits if np.isin(np.flatnonzero(names == group), fit.places).any()]
            [fit] = own  # groups stay whole
            found.append(len(fit.places))
            outside = np.setdiff1d(np.arange(120), fit.places)
            assert group not in set(names[outside])
            clips = Clips(learnt.features[outside], learnt.ids[outside], np.full(len(outside), 1 / len(outside)))
            plain = Directions(None, np.ones(8))
            solution = solve(clips, plain, 0.01, Solution.zeros(8, 3), WHILE_CHOOSING)
            inside = names == group
            np.testing.assert_allclose(solution.logits(learnt.features[inside]), tried.logits[inside], atol=0.02)


def test_a_class_of_one_group_says_nothing_of_the_penalty():
    learnt = made()
    groups = ["alone" if number == 2 else group for number, group in zip(learnt.ids, learnt.groups, strict=True)]
    choice = L2Choice(LabelledClips(learnt.features, learnt.ids, groups), ONES, None, seed=0)
    np.testing.assert_array_equal(choice.is_measured, learnt.ids != 2)
    [tried] = choice.tried((0.1,))
    assert np.isfinite(tried.row["val_loss"])
    assert tried.row["val_loss"] < np.log(3)
    with pytest.raises(
        UsageError, match=r"all clips to train on are of one group; choose with --validate-on, give --l2"
    ):
        L2Choice(LabelledClips(learnt.features, learnt.ids, ["alone"] * 120), ONES, None, seed=0)
    # So it is of a class that only clips validated on have.
    of_two = LabelledClips(learnt.features[:80], learnt.ids[:80], groups[:80])
    [both] = L2Choice(of_two, ONES, learnt, seed=0).tried((0.1,))
    [one] = L2Choice(of_two, ONES, of_two, seed=0).tried((0.1,))
    assert both.row | {"seconds": 0} == one.row | {"seconds": 0}
    assert one.row["val_clips"] == 80
    by_class = [f"g{number}" for number in learnt.ids]
    with pytest.raises(UsageError, match="all clips of each class to train on are of one group"):
        L2Choice(LabelledClips(learnt.features, learnt.ids, by_class), ONES, None, seed=0)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"train_on": ("training",), "validate_on": ("testing",)}, "none of them is of a class that linear learns"),
        ({"train_on": ("training", "validation")}, "all clips of each class to train on are of one group"),
    ],
)
def test_a_set_that_says_nothing_of_the_penalty_is_refused_before_there_is_a_run(tmp_path, monkeypatch, rows, message):
    places = {"low": ("training", "a"), "high": ("training", "b"), "noise": ("testing", "c"), "hum": ("testing", "d")}
    lines = ["path,label,group,partition"]
    for seed, (label, (partition, group)) in enumerate(places.items()):
        for number in range(3):
            write_wav(tmp_path / f"{label}{number}.wav", noise(4_000, seed=10 * seed + number), 4_000)
            lines.append(f"{label}{number}.wav,{label},{group},{partition}")
    (tmp_path / "clips.csv").write_text("\n".join(lines))
    (tmp_path / "spec.toml").write_text(SPEC)
    assert call("pipelines.featurize", "--input", tmp_path / "clips.csv", "--spec", tmp_path / "spec.toml",
                "--output", tmp_path / "features") == 0  # fmt: skip
    with pytest.raises(UsageError, match=message):
        train(str(tmp_path / "features"), str(tmp_path / "run"), {"network": "linear", **rows})
    assert not (tmp_path / "run" / "config.json").exists()
    with_penalty = {"network": "linear", "l2": 0.1, **rows, "validate_on": ()}
    assert train(str(tmp_path / "features"), str(tmp_path / "run"), with_penalty)["accuracy"] is None


def test_without_validation_all_clips_are_learnt_and_inner_folds_calibrate(feature_set, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(linear_scaling, "L2Choice", lambda *given: kept.append(L2Choice(*given)) or kept[-1])
    given = {"network": "linear", "train_on": ("training", "validation"), "test_on": ("testing",)}
    figures = train(str(feature_set), str(tmp_path / "run"), given)
    clips = load_manifest(feature_set).rows(["training", "validation"])
    assert (figures["clips"], figures["validation_clips"], figures["inner_folds"]) == (clips, clips, True)
    [choice] = kept
    with threadpool_limits(limits=1):
        *_, tried = choice.tried(tuple(GRID[: figures["best_epoch"]]))
    assert tried.row["val_loss"] == figures["loss"]
    temperature = fit_temperature(tried.logits.astype(np.float32), choice.measured_ids, Outputs(are_logits=True))
    assert figures["temperature"] == temperature
    again = train(str(feature_set), str(tmp_path / "given"), {**given, "l2": figures["l2"]})
    assert again["epochs"] == 1
    assert load_executor(tmp_path / "given").classes == load_executor(tmp_path / "run").classes
    one, other = (
        load_executor(tmp_path / name).outputs(rows_of(feature_set, "testing")[0]) for name in ("run", "given")
    )
    np.testing.assert_allclose(one, other, atol=2e-3 * np.abs(one).max())  # from another beginning to the same end


def test_a_recipe_a_resumed_run_and_one_that_was_killed_give_the_same_network(linear_run, feature_set, tmp_path):
    run, figures = linear_run
    options = ("--features", feature_set, "--config", run / "recipe.toml", "--output", tmp_path / "run")
    assert call("model.train", *options) == 0
    assert files(tmp_path / "run") == files(run)
    (tmp_path / "run" / "model" / "artifact.json").unlink()  # as it is while the last files are written
    with pytest.raises(UsageError, match="did not end; add --resume"):
        train(str(feature_set), str(tmp_path / "run"), {"network": "linear"})
    with pytest.raises(UsageError, match="was begun with --balance none, not weights"):
        train(str(feature_set), str(tmp_path / "run"), {"balance": "weights"}, resume=True)
    with pytest.raises(UsageError, match="--epochs 20 would not be used: linear is solved for"):
        train(str(feature_set), str(tmp_path / "run"), {"epochs": 20}, resume=True)
    for _ in range(2):  # the second has ended
        resumed = train(str(feature_set), str(tmp_path / "run"), {}, resume=True)
        assert files(tmp_path / "run") == files(run)
        same = set(figures) - {"training_seconds", "clips_per_second", "seconds", "test_on"}
        assert {name: figures[name] for name in same if not name.startswith(("testing", "training"))} == {
            name: resumed[name] for name in same if not name.startswith(("testing", "training"))
        }


def test_settings_change_what_they_say(linear_run, feature_set, tmp_path):
    shown = []
    given = {
        "network": "linear",
        "patience": 0,
        "best_by": "accuracy",
        "classes": ("high", "low"),
        "unknown_share": 0.2,
    }
    figures = train(str(feature_set), str(tmp_path / "run"), given, watch=EachEpoch(shown.append))
    assert figures["epochs"] == len(shown) == len(GRID)
    assert figures["accuracy"] == max(row["val_accuracy"] for row in shown)
    assert read_description(tmp_path / "run").classes == ["high", "low", "_unknown_"]
    kept = sum(load_manifest(feature_set).counts["classes"][name]["training"] for name in ("high", "low"))
    assert figures["clips"] == kept + round(0.2 * kept)
    weighted = {**given, "balance": "weights", "l2": figures["l2"], "validate_on": ()}
    weighted = {name: value for name, value in weighted.items() if name not in ("patience", "best_by")}
    plain = {name: value for name, value in weighted.items() if name != "balance"}
    for name, one in (("weighted", weighted), ("plain", plain)):
        assert train(str(feature_set), str(tmp_path / name), one)["accuracy"] is None
        assert read_description(tmp_path / name).calibration.thresholds is None
    assert files(tmp_path / "weighted")["network.npz"] != files(tmp_path / "plain")["network.npz"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", 5], "--epochs 5 would not be used: linear is solved for, without steps, epochs or changed clips"),
        (["--learning-rate", 0.1], "--learning-rate 0.1 would not be used: linear is solved for"),
        (["--optimizer", "adamw"], "--optimizer adamw would not be used"),
        (["--mixup-alpha", 0.2], "--mixup-alpha 0.2 would not be used"),
        (["--precision", "float32"], "--precision float32 would not be used"),
        (["--balance", "sampling"], "linear learns from each clip once, and --balance sampling draws them"),
        (
            ["--validate-on", "none"],
            "chosen on the clips validated on, and --validate-on is none; give the penalty with",
        ),
        (
            ["--l2", 0.1, "--patience", 3],
            "--patience 3 would not be used: it says how the penalty is chosen, which --l2",
        ),
        (["--l2", -1], "--l2 is at least 0, not -1"),
        (["--keep-in-memory", "off"], "linear is solved for with its clips in memory; leave --keep-in-memory off out"),
        (["--init", "RUN"], "linear is solved for, and comes out the same whatever it begins with; leave --init"),
        (["--network", "mlp", "--l2", 0.1], "--l2 0.1 would not be used: it is the penalty of linear; mlp has"),
    ],
)
def test_what_does_not_apply_is_refused_in_a_line(linear_run, feature_set, tmp_path, options, message):
    given = [linear_run[0] if option == "RUN" else option for option in options]
    with pytest.raises(UsageError) as raised:
        call("model.train", "--features", feature_set, "--network", "linear", "--output", tmp_path / "run", *given)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_more_clips_than_the_memory_takes_are_refused(feature_set, tmp_path, monkeypatch):
    monkeypatch.setattr(linear.os, "sysconf", lambda name: 1_000)
    with pytest.raises(UsageError, match=r"keeps its clips in memory, about 0\.1 GiB for \d+ clips of 15,996 values"):
        train(str(feature_set), str(tmp_path / "run"), {"network": "linear"})
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_preview_and_a_search_without_ranges_have_nothing_to_do(feature_set, tmp_path):
    with pytest.raises(UsageError, match="nothing to show: linear is trained on clips as they are"):
        preview(str(feature_set), str(tmp_path / "p.png"), {"network": "linear"})
    with pytest.raises(UsageError, match="linear chooses its L2 penalty by itself in each training"):
        tune(str(feature_set), str(tmp_path / "study"), 2, {"network": "linear"})


def test_folds_are_trained_and_tested_like_others(feature_set, tmp_path):
    figures = cross_validate(
        str(feature_set), str(tmp_path / "cv"), split_folds(str(feature_set), splits=3), {"network": "linear"}
    )
    assert figures["mean_accuracy"] > 0.9
    assert sum(fold["clips"] for fold in figures["folds"]) == load_manifest(feature_set).rows(
        ["training", "validation", "testing"]
    )
    assert {fold["network"] for fold in figures["folds"]} == {"linear"}
