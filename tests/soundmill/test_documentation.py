"""Runs the examples of the Python interface as they stand, on files of the names that they give."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import soundmill
from tests.conftest import call
from tests.model.untrained import save_untrained

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = [
    block
    for text in (soundmill.__doc__, README)
    for block in re.findall(r"^```python\n(.*?)^```", text or "", flags=re.MULTILINE | re.DOTALL)
    if "soundmill.open_features" in block
]


@pytest.mark.parametrize("block", BLOCKS)
def test_an_example_runs_as_it_stands(block, words, tmp_path):
    [clip] = re.findall(r'features\.array\("(.*?)"\)', block)
    named = {name for names in re.findall(r"predict\(\[(.*?)\]", block) for name in re.findall(r'"(.*?)"', names)}
    assert named
    for name in {f"speech/{clip}", f"speech/no/{Path(clip).name}", *named}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(next(words.glob("low/*.wav")), tmp_path / name)
    features = tmp_path / "speech-features"
    assert call("pipelines.featurize", "--input", tmp_path / "speech", "--output", features) == 0
    save_untrained(tmp_path / "run", features)
    result = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert f"['no', '{Path(clip).parent}'] 2" in result.stdout
