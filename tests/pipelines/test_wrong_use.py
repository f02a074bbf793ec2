"""What cannot be done is refused with exit code 2 and one line that names it."""

import argparse
import shutil
from pathlib import Path

import pytest

from features.errors import UsageError
from pipelines.beam.options import beam_option_names, check_beam_options
from tests.conftest import call, run_command
from tests.signals import noise, write_wav

FEATURIZE, TRAIN, EVALUATE, SCORE = "pipelines.featurize", "model.train", "model.evaluate", "pipelines.score"
BAD_SPECS = {
    "window.toml": 'preset = "speech-commands"\nwindow_samples = 300\n',
    "mel.toml": 'preset = "log-mel"\nmel_high_hz = 9000.0\n',
    "short.toml": 'preset = "speech-commands"\nclip_seconds = 0.01\n',
    "unknown.toml": 'preset = "speech-commands"\nwindow = 255\n',
    "broken.toml": "preset = \n",
    "hop.toml": 'preset = "speech-commands"\nhop_samples = 100\n',
}


@pytest.fixture(scope="module")
def place(words, feature_set, run_folder, tmp_path_factory) -> Path:
    """A folder with what the command lines below name."""
    root = tmp_path_factory.mktemp("wrong")
    shutil.copytree(words, root / "words")
    shutil.copytree(words, root / "other words")
    (root / "run").symlink_to(run_folder)
    shutil.copytree(feature_set, root / "set")
    write_wav(root / "one class" / "left" / "a.wav", noise(16_000))
    write_wav(root / "one class" / "left" / "b.wav", noise(16_000, seed=1))
    (root / "no audio").mkdir()
    (root / "no audio" / "read me.txt").write_text("there is none")
    write_wav(root / "no classes" / "a.wav", noise(16_000))
    (root / "something else").mkdir()
    (root / "something else" / "thesis.txt").write_text("all of it")
    (root / "labels.csv").write_text("path\n")
    clips = [f"words/{word}/00000000_nohash_0.wav" for word in ("high", "low")]
    (root / "t.csv").write_text(
        "path,label,fold\n" + "".join(f"{clip.removeprefix('words/')},{clip[6]},1\n" for clip in clips)
    )
    (root / "twice.csv").write_text("path,label\n" + "".join(f"{clip},x\n" for clip in (*clips, clips[0])))
    for name, content in BAD_SPECS.items():
        (root / name).write_text(content)
    assert call(FEATURIZE, "--input", words, "--output", root / "untrainable", "--split", "0/50/50") == 0
    assert call(FEATURIZE, "--input", root / "one class", "--output", root / "one class set") == 0
    assert call(FEATURIZE, "--input", root / "words", "--output", root / "of words") == 0
    assert call(FEATURIZE, "--input", words, "--output", root / "other spec", "--spec", root / "hop.toml") == 0
    return root


def featurize(arguments: str) -> tuple[str, str]:
    return FEATURIZE, arguments if "--output" in arguments else f"{arguments}|--output|new"


def train(arguments: str) -> tuple[str, str]:
    return TRAIN, f"{arguments}|--output|new"


def score(arguments: str) -> tuple[str, str]:
    return SCORE, arguments if "--output" in arguments else f"{arguments}|--output|new.csv"


# What is requested, and what the line that refuses it names. A process of its own for each kind of end of each command.
IN_A_PROCESS = {
    "limit a word": (featurize("--input|words|--limit|few"), ["--limit", "few"]),
    "no audio": (featurize("--input|no audio"), ["no audio in no audio", "1 not audio"]),
    "unknown option": (featurize("--input|words|--wrokers|2"), ["--wrokers (did you mean --workers?)"]),
    "unknown option, and that one is missing": ((FEATURIZE, "--inptu|words|--output|new"), ["(did you mean --input?)"]),
    "an option like one of Beam's": (
        featurize("--input|words|--direct_num_worker=2"), ["(did you mean --direct_num_workers?)"]
    ),
    "an option like none": (featurize("--input|words|--xyz|2"), ["--xyz: neither soundmill nor Beam knows it"]),
    "a value that Beam cannot read": (
        featurize("--input|words|--direct_num_workers=few"), ["--direct_num_workers", "few"]
    ),
    "train: one class": (train("--features|one class set"), ["'left'", "two classes"]),
    "train: unknown option": (train("--features|set|--epoch|3"), ["--epoch (did you mean --epochs?)"]),
    "train: no output": ((TRAIN, "--features|set"), ["--output"]),
    "evaluate: no run": ((EVALUATE, "--model|something else|--features|set"), ["something else", "model.train"]),
    "score: unknown option": (score("--model|run|--input|words|--wrokers|2"), ["(did you mean --workers?)"]),
}  # fmt: skip


@pytest.mark.parametrize("case", IN_A_PROCESS)
def test_wrong_use_is_refused_with_one_line(place, case):
    before = sorted(place.rglob("*"))
    (command, arguments), names = IN_A_PROCESS[case]
    result = run_command(command, *arguments.split("|"), check=False, cwd=place)
    assert result.returncode == 2, result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    for name in names:
        assert name in lines[0]
    assert result.stdout == ""
    assert sorted(place.rglob("*")) == before, "it left something behind"


HERE = {
    "window longer than FFT": (
        featurize("--input|words|--spec|window.toml"), ["window_samples=300", "fft_samples=256"]
    ),
    "output holds something else": (
        featurize("--input|words|--output|something else"), ["something else", "thesis.txt"]
    ),
    "workers 0": (featurize("--input|words|--workers|0"), ["--workers", "'0'"]),
    "a clip twice": (featurize("--input|twice.csv"), ["high/00000000_nohash_0.wav in lines 2 and 4"]),
    "train: output exists": ((TRAIN, "--features|set|--output|run"), ["run exists"]),
    "evaluate: another spec": ((EVALUATE, "--model|run|--features|other spec"), ["hop_samples: 100 against 128"]),
    "score: no run": (score("--model|something else|--input|words"), ["something else", "model.train"]),
    "score: output exists": (
        score("--model|run|--input|words|--output|labels.csv"), ["labels.csv exists", "--overwrite"]
    ),
    "no such folder": (featurize("--input|nowhere"), ["nowhere"]),
    "no class folders": (featurize("--input|no classes"), ["no class folder in no classes"]),
    "mel above Nyquist": (featurize("--input|words|--spec|mel.toml"), ["mel_high_hz=9000", "8000 Hz"]),
    "clip shorter than a window": (featurize("--input|words|--spec|short.toml"), ["clip_seconds=0.01", "255"]),
    "another spec": (featurize("--input|words|--output|set|--spec|hop.toml"), ["hop_samples: 128 against 100"]),
    "another preset": (
        featurize("--input|words|--output|set"), ["front_end: stft against log_mel", "add --preset speech-commands"]
    ),
    "another format": (
        featurize("--input|words|--output|set|--preset|speech-commands|--format|parquet"), ["set", "tfrecord"]
    ),
    "another source": (
        featurize("--input|other words|--output|set|--preset|speech-commands"), ["other words", "made-once/words"]
    ),
    "split of two": (featurize("--input|words|--split|50/50"), ["--split", "'50/50'"]),
    "a column that is not there": (
        featurize("--input|t.csv|--label-column|class"), ["t.csv has no column 'class'", "'path', 'label', 'fold'"]
    ),
    "a pattern that finds nothing": (
        featurize("--input|words|--label-pattern|(?P<label>x)"), ["no label in any of the 120", "high/00000000_nohash"]
    ),
    "train: nothing to train on": (
        train("--features|untrainable"), ["training", "--group", "--split", "untrainable"]
    ),
    "train: no set": (train("--features|something else"), ["something else", "manifest.json"]),
    "score: workers 0": (score("--model|run|--input|words|--workers|0"), ["--workers", "'0'"]),
    "a file without a label": (featurize("--input|no classes/a.wav"), ["no classes/a.wav"]),
    "unknown field": (featurize("--input|words|--spec|unknown.toml"), ["'window'", "unknown.toml"]),
    "no TOML": (featurize("--input|words|--spec|broken.toml"), ["broken.toml"]),
    "no such spec": (featurize("--input|words|--spec|nothing.toml"), ["nothing.toml"]),
    "output is a file": (featurize("--input|words|--output|labels.csv"), ["labels.csv"]),
    "workers a word": (featurize("--input|words|--workers|many"), ["--workers", "'many'"]),
    "split over 100": (featurize("--input|words|--split|50/50/50"), ["--split", "'50/50/50'"]),
    "limit 0": (featurize("--input|words|--limit|0"), ["--limit", "0"]),
    "group that is not an expression": (featurize("--input|words|--group|("), ["--group", "'('"]),
    "group without a match": (featurize("--input|words|--group|speaker(.)"), ["--group", "high/00000000_nohash_0.wav"]),
    "a table's option for a folder": (featurize("--input|words|--label-column|x"), ["--label-column", "is not one"]),
    "a pattern for a table": (featurize("--input|t.csv|--label-pattern|(?P<label>.)"), ["--label-pattern", "t.csv"]),
    "a pattern that is not an expression": (featurize("--input|words|--label-pattern|("), ["--label-pattern", "'('"]),
    "a template and a column": (
        featurize("--input|t.csv|--path-column|path|--path-template|{path}"), ["--path-column or --path-template"]
    ),
    "a partition and a fold": (
        featurize("--input|t.csv|--partition-column|fold|--fold-column|fold"), ["--partition-column or --fold-column"]
    ),
    "no such root": (featurize("--input|t.csv|--root|nowhere"), ["--root", "nowhere"]),
    "no such table": (featurize("--input|none.csv"), ["no such file or folder: none.csv"]),
    "a set of a folder": (featurize("--input|t.csv|--root|words|--output|of words"), ["of words", "t.csv"]),
    "no such runner": (featurize("--input|words|--runner|Nowhere"), ["--runner", "Nowhere"]),
    # A name that stands in Beam's source and is no option there.
    "unknown option, nothing to do": (featurize("--input|words|--output|of words|--abc|2"), ["--abc"]),
    "unknown option, dry run": (featurize("--input|words|--dry-run|--abc|2"), ["--abc"]),
    "train: no such set": (train("--features|nowhere"), ["nowhere"]),
    "train: epochs 0": (train("--features|set|--epochs|0"), ["--epochs", "0"]),
    "train: no such network": (train("--features|set|--network|nothing"), ["'nothing'", "tutorial-cnn"]),
    "evaluate: no such run": ((EVALUATE, "--model|nowhere|--features|set"), ["nowhere"]),
    "evaluate: no such partition": (
        (EVALUATE, "--model|run|--features|set|--test-on|fold-3"), ["'fold-3'", "testing"]
    ),
    "score: no such folder": (score("--model|run|--input|nowhere"), ["nowhere"]),
    "score: no audio": (score("--model|run|--input|no audio"), ["no audio in no audio"]),
    "score: a table's option for a folder": (
        score("--model|run|--input|words|--path-column|x"), ["--path-column", "words is not one"]
    ),
    "score: a table without such a column": (
        score("--model|run|--input|t.csv|--root|words|--path-column|x"), ["t.csv has no column 'x'"]
    ),
    "score: no folder for the output": (score("--model|run|--input|words|--output|new/a/b.csv"), ["new/a"]),
}  # fmt: skip


@pytest.mark.parametrize("case", HERE)
def test_wrong_use_is_refused_before_anything_is_done(place, case, monkeypatch, capfd, caplog):
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    (command, arguments), names = HERE[case]
    import apache_beam  # noqa: F401  # as it is loaded it says what it lacks, which the console of a command leaves out

    caplog.clear()
    caplog.set_level("INFO")
    with pytest.raises(UsageError) as raised:
        call(command, *arguments.split("|"))
    assert raised.value.exit_code == 2
    for name in names:
        assert name in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert (*capfd.readouterr(), caplog.messages) == ("", "", []), "it said something before it refused"
    assert sorted(place.rglob("*")) == before, "it left something behind"


@pytest.mark.parametrize("option", ["--extra_package=a.tar.gz", "--experiment=use_fast", "--direct_num_workers=2"])
def test_options_that_beam_knows_are_not_refused(option):
    name = option.partition("=")[0]
    assert name in beam_option_names()
    check_beam_options(["--runner=FnApiRunner", option])
    with pytest.raises(
        UsageError, match=f"{option} is an option of Beam, which runs where --runner says: add --runner"
    ):
        check_beam_options([option])


def test_the_names_of_beams_options_are_those_that_beam_has():
    import apache_beam  # noqa: F401  # its runners bring options of their own
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = argparse.ArgumentParser(add_help=False, conflict_handler="resolve")
    for kind in PipelineOptions.__subclasses__():
        kind._add_argparse_args(parser)
    known = set(parser._option_string_actions)
    assert len(known) > 100
    assert known <= beam_option_names()
