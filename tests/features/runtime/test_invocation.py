import shlex
import sys

import hypothesis.strategies as st
import pytest
from hypothesis import given

from features.runtime.invocation import command_line
from features.store.manifest import load_manifest
from tests.conftest import call
from tests.signals import noise, write_wav


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)))
def test_a_shell_reads_the_arguments_that_were_given(arguments):
    assert shlex.split(command_line("model.train", *arguments)) == ["python", "-m", "model.train", *arguments]


def test_it_is_the_way_in_which_this_process_was_started(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/soundmill"])
    assert command_line("model.train", "--features", tmp_path / "my set") == (
        f"soundmill train --features '{tmp_path}/my set'"
    )


@pytest.mark.parametrize("name", ["my set", "Sam's; rm $HOME", "[v2]*", "\u9ce5"])
def test_commands_propose_what_can_be_pasted(tmp_path, capsys, name):
    """From a first run, a run that supersedes shards, a look at the set, and a check of it."""
    source, folder = tmp_path / "words", tmp_path / name
    for number in range(3):
        write_wav(source / "ab"[number % 2] / f"{number}.wav", noise(16_000, seed=number))

    def proposed(before: str, module: str, *arguments: object) -> list[str]:
        assert call(module, *arguments) in (0, 1)
        return shlex.split(capsys.readouterr().out.partition(before)[2].partition("\n")[0].removesuffix("."))

    featurize = ("pipelines.featurize", "--input", source, "--output", folder)
    train = ["python", "-m", "model.train", "--features", str(folder), "--output", "RUN"]
    assert proposed("Next: ", *featurize) == train
    (source / "a" / "0.wav").unlink()
    assert proposed("only now: ", *featurize)[:4] == ["python", "-m", "features.prune", f"{folder}."]
    show = ["python", "-m", "features.show", str(folder), "--output", "overview.png"]
    assert proposed("For a picture of it: ", "features.show", folder) == show
    assert proposed(";\n            ", "features.show", folder)[:4] == ["python", "-m", "features.prune", str(folder)]
    manifest = load_manifest(folder)
    shard = manifest.layout(folder).shard(manifest.all_shards[0].name)
    shard.write_bytes(shard.read_bytes()[:-1])
    assert proposed("Damaged: 1 shard. ", "features.verify", folder)[:5] == [
        "python", "-m", "features.verify", str(folder), "--repair",
    ]  # fmt: skip
