"""The card of an export says what the run knows, as text, in the form that Hugging Face's hub reads."""

import ast
import itertools
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from features.frontend.presets import PRESETS, preset
from features.runtime.visible import visible
from model.formats.front_end_words import clip_words, front_end_words
from model.formats.model_card import CARD, write_model_card
from model.formats.run_it import run_it
from tests.conftest import call
from tests.peers.library import ENVIRONMENTS

FIGURES = {
    "format": "onnx", "bytes": 1_234_567, "largest_difference": 2.5e-6, "sample_rate_hz": 16_000,
    "clip_samples": 16_000, "takes": "waveforms", "signals": 6, "real_clips": 8,
}  # fmt: skip
PARSER = MarkdownIt("gfm-like", {"linkify": False}).enable("table")
HUB = """
import json, sys
from huggingface_hub import ModelCard
card = ModelCard.load(sys.argv[1])
[result] = card.data.eval_results
print(json.dumps([result.task_type, result.metric_type, result.metric_value, result.dataset_split, card.data.tags]))
"""


@pytest.fixture(scope="module")
def evaluated(trained, feature_set, tmp_path_factory) -> Path:
    """A run with an evaluation on the validation clips, some of which it gets wrong or not."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("card") / "run")
    assert call("model.evaluate", "--model", run, "--features", feature_set, "--test-on", "validation,testing") == 0
    return run


def card(folder: Path, run: Path, **figures: object) -> tuple[dict, str]:
    """The head of a card and what stands below it."""
    folder.mkdir(exist_ok=True)
    write_model_card(folder, run, FIGURES | figures)
    text = (folder / CARD).read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def metrics_of(run: Path) -> tuple[Path, dict]:
    [path] = run.glob("evaluation/*/metrics.json")
    return path, json.loads(path.read_text())


def rows_of(body: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, as text."""
    tokens = PARSER.parse(body.partition(f"## {heading}\n")[2].partition("\n## ")[0])
    rows: list[list[str]] = []
    for before, token in itertools.pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and before.type in ("td_open", "th_open"):
            assert {child.type for child in token.children} <= {"text", "text_special"}
            rows[-1].append("".join(child.content for child in token.children))
    return rows


def test_figures_are_those_of_the_evaluation(tmp_path, evaluated):
    head, body = card(tmp_path, evaluated)
    _, metrics = metrics_of(evaluated)
    [[result]] = [model["results"] for model in head["model-index"]]
    [metric] = result["metrics"]
    assert (metric["type"], metric["value"]) == ("accuracy", metrics["accuracy"])
    assert metric["args"] == {"interval": metrics["interval_95"], "clips": metrics["clips"]}
    assert result["dataset"] == {"name": "set", "type": "soundmill", "split": "validation+testing"}
    assert f"{metrics['correct']} of {metrics['clips']} clips" in body
    assert f"{metrics['interval_95_by_group'][0]:.4f} to {metrics['interval_95_by_group'][1]:.4f} by the" in body
    # The groups of the set are speakers, each in one partition.
    assert "it was trained on none of these clips, and on none of their groups." in body
    assert f"{metrics['training']['clips']} clips of {metrics['training']['groups']} groups" in body
    assert rows_of(body, "What it labels")[0] == ["class", "threshold", "precision", "recall", "clips tested"]
    assert [row[0] for row in rows_of(body, "What it labels")[1:]] == ["high", "low", "middle"]
    assert "2.5e-06 at most, on 6 made signals and 8 clips" in body and "1.2 MB" in body
    description = json.loads((evaluated / "model" / "artifact.json").read_text())
    assert description["fingerprint"] in body and f"temperature {description['temperature']:.6g}" in body
    assert str(evaluated) not in body and str(Path(metrics["features"]).parent) not in body
    assert "license" not in head and "Nothing is said here of a licence" in body
    record = json.loads((evaluated / "config.json").read_text())
    assert f"Seed {record['settings']['seed']}, begun on {record['begun'][:10]}." in body


def test_a_run_that_does_not_say_when_it_was_begun_has_no_date(tmp_path, evaluated):
    run = shutil.copytree(evaluated, tmp_path / "run")
    record = json.loads((run / "config.json").read_text())
    del record["begun"]
    (run / "config.json").write_text(json.dumps(record))
    _, body = card(tmp_path / "export", run, format="saved_model")
    assert f"Seed {record['settings']['seed']}.\n" in body and "begun" not in body and "None" not in body
    assert "as the TensorFlow SavedModel that this folder is, 1.2 MB." in body


def test_what_it_gets_wrong_most_is_in_order(tmp_path, evaluated):
    run = shutil.copytree(evaluated, tmp_path / "run")
    path, metrics = metrics_of(run)
    metrics["confusion"] = [[7, 2, 0], [0, 9, 5], [1, 0, 8]]
    path.write_text(json.dumps(metrics))
    clips = {label: scores["clips"] for label, scores in metrics["classes"].items()}
    assert rows_of(card(tmp_path, run)[1], "What it gets wrong most")[1:] == [
        ["low", "middle", f"5 of {clips['low']}"],
        ["high", "low", f"2 of {clips['high']}"],
        ["middle", "high", f"1 of {clips['middle']}"],
    ]


def test_an_export_in_int8_has_its_own_accuracy(tmp_path, evaluated):
    measured = {"accuracy": 0.75, "float_accuracy": 0.875, "tested_on": ["validation"], "tested_clips": 8}
    head, body = card(tmp_path, evaluated, format="litert-int8", same_label=1.0, **measured)
    [[result]] = [model["results"] for model in head["model-index"]]
    assert [metric["value"] for metric in result["metrics"]] == [0.75]
    assert result["dataset"]["split"] == "validation"
    assert "the accuracy is 0.7500** on validation: 8 clips, of which the network in float32 is right on 0.8750" in body


@pytest.mark.parametrize(("seen", "said"), [(3, "Of these clips it was trained on 3"), (None, "is not known")])
def test_clips_that_it_was_trained_on_are_said(tmp_path, evaluated, seen, said):
    run = shutil.copytree(evaluated, tmp_path / "run")
    path, metrics = metrics_of(run)
    path.write_text(json.dumps(metrics | {"clips_trained_on": seen}))
    head, body = card(tmp_path, run)
    assert said in body and "none of these clips" not in body
    assert ("model-index" in head) == (seen is None), "clips that were learnt say nothing of new ones"


def test_without_an_evaluation_of_this_network_it_says_so(tmp_path, evaluated):
    run = shutil.copytree(evaluated, tmp_path / "run")
    path, metrics = metrics_of(run)
    path.write_text(json.dumps(metrics | {"network": "0" * 64}))
    head, body = card(tmp_path, run)
    assert "evaluations of another network" in body
    shutil.rmtree(run / "evaluation")
    for folder in (run, run / "model"):  # config.json, too, is not needed
        (folder / "config.json").unlink(missing_ok=True)
    alone, without = card(tmp_path, run)
    assert "the run has no evaluation" in without
    for text in (body, without):
        assert "model.evaluate --model RUN --features FEATURES" in text and "ccuracy" not in text
    assert "metrics" not in {*head, *alone} and "model-index" not in {*head, *alone}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(min_size=1) | st.sampled_from(["a|b", "<script>", "# x", "x: y", "a\nb", "`", "---"]),
                min_size=2, max_size=6, unique=True))  # fmt: skip
def test_labels_stay_text(tmp_path, evaluated, classes):
    run = tmp_path / "run"
    if not run.exists():
        shutil.copytree(evaluated, run)
        shutil.rmtree(run / "evaluation")
    path = run / "model" / "artifact.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    thresholds = dict.fromkeys(classes, 0.5)
    path.write_text(json.dumps(content | {"classes": classes, "thresholds": thresholds}), encoding="utf-8")
    body = card(tmp_path, run)[1]
    assert rows_of(body, "What it labels")[1:] == [[visible(label), "0.5000"] for label in classes]
    assert {token.type for token in PARSER.parse(body)}.isdisjoint({"html_block", "blockquote_open"})


@pytest.mark.parametrize("name", [name for name in PRESETS if preset(name).network_name is None])
def test_a_front_end_in_words_has_its_numbers(name):
    spec = preset(name)
    words = f"{clip_words(spec)} {front_end_words(spec)}".replace(",", "")
    numbers = ("sample_rate_hz", "clip_samples", "window_samples", "hop_samples", "fft_samples", "mel_bands",
               "mel_low_hz", "mel_high_hz", "log_offset", "dynamic_range_db", "coefficients")  # fmt: skip
    for field in numbers:
        if getattr(spec, field) is not None:
            assert f" {getattr(spec, field):g}".replace("e+", "e") in words, field
    assert f"`{name}`" in words and ("Of all frames the mean" in words) == (spec.pool is not None)


@pytest.mark.parametrize("channels", ["mean", "loudest", 2])
@pytest.mark.parametrize("clip_seconds", [1.0, None])
@pytest.mark.parametrize("format_name", ["saved_model", "litert", "litert-int8", "onnx"])
def test_the_lines_that_run_it_are_python(format_name, clip_seconds, channels):
    pooled = {} if clip_seconds else {"pool": "mean"}
    spec = replace(preset("log-mel"), clip_seconds=clip_seconds, channels=channels, crop="centre", **pooled)
    code = run_it(format_name, spec, folder := """a "b"\\{c}""")
    texts = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    assert any(isinstance(text, str) and text.startswith(folder) for text in texts)
    assert "soundmill." not in code.replace("soundmill.json", "") and len(code.splitlines()) < 25


@pytest.mark.trial
@pytest.mark.peers("datasets")
def test_the_hub_reads_it(tmp_path, evaluated):
    head, _ = card(tmp_path, evaluated)
    command = [str(ENVIRONMENTS / "datasets" / "bin" / "python"), "-c", HUB, str(tmp_path / CARD)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, env={"HF_HUB_OFFLINE": "1"})
    assert result.returncode == 0, result.stderr
    accuracy = metrics_of(evaluated)[1]["accuracy"]
    assert json.loads(result.stdout) == [
        "audio-classification",
        "accuracy",
        accuracy,
        "validation+testing",
        head["tags"],
    ]
