"""What tests are told when another project's library is not here, and which versions the golden values are of."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.peers.library import GOLDEN, ROOT, live

LIVE_TEST = "tests/model/evaluation/test_metrics.py::test_cross_entropy_is_that_of_scikit_learn[live-0]"


@pytest.mark.parametrize("promised", [False, True])
def test_a_library_that_is_missing_skips_a_trial_or_fails_it_where_it_was_promised(tmp_path, promised):
    # Either way the library is missing: without the promise, as no environment of this name lies in the checkout.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SOUNDMILL_")}
    if promised:
        environment["SOUNDMILL_PEERS"] = str(tmp_path)
    elif (ROOT / ".peers" / "librosa" / ".installed").exists():
        pytest.skip("make peers ran here, so a run without the variable has what it needs")
    command = [sys.executable, "-m", "pytest", "-n", "0", "-rsf", "-p", "no:cacheprovider", "-m", "trial", LIVE_TEST]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert "librosa is not set up: run `make peers`" in result.stdout
    assert ("1 error" if promised else "1 skipped") in result.stdout
    assert result.returncode == (1 if promised else 0)


@pytest.mark.parametrize(
    ("environment", "library"),
    [
        ("librosa", "librosa"),
        ("librosa", "sklearn"),
        ("recorders", "guano"),
        ("recorders", "aru_metadata_parser"),
        ("crowsetta", "sed_scores_eval"),
    ],
)
def test_golden_values_are_of_the_versions_that_are_pinned(environment, library):
    pins = (ROOT / "tests" / "peers" / f"{environment}.txt").read_text(encoding="utf-8").splitlines()
    with np.load(GOLDEN / f"{library}.npz") as values:
        assert {pin for pin in pins if not pin.startswith("#")} <= {*values["versions"].tolist()}


def test_golden_values_take_little_room():
    assert sum(path.stat().st_size for path in GOLDEN.iterdir()) <= 300_000


@pytest.mark.trial
@pytest.mark.peers("librosa")
def test_what_a_library_refuses_fails_the_test_with_its_message():
    with (
        live("librosa", "librosa") as theirs,
        pytest.raises(AssertionError, match="mel_frequencies failed in the other process"),
    ):
        theirs.mel_frequencies(n_mels="many")
