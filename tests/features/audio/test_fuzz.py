"""The decode step under damage of all kinds, in short and for a minute; `fuzz` beside it has the long form."""

import io
import re
import secrets

import numpy as np
import pytest
import soundfile

from features.audio.decode import decode, probe
from features.errors import ClipError, Reason
from tests.conftest import run_command
from tests.features.audio import fuzz
from tests.signals import sine

LEAST_SHARE = 0.3


@pytest.fixture(scope="module")
def bases() -> fuzz.Bases:
    return fuzz.by_kind(fuzz.made_bases())


@pytest.fixture
def folder(tmp_path, no_ffmpeg):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_mutants_of_all_formats_are_decoded_or_refused(bases, folder, tmp_path):
    tally = fuzz.fuzz(bases, seed=7, files=400, folder=folder, output=tmp_path / "kept")
    print(tally.table())
    assert tally.failures == []
    assert tally.files == 400
    assert tally.share >= LEAST_SHARE
    assert tally.decoded > 0.8 * LEAST_SHARE * tally.files
    assert len({outcome for outcome, _ in tally.outcomes}) >= 6
    assert list(folder.iterdir()) == []
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    "seconds", [pytest.param(10, marks=pytest.mark.trial), pytest.param(60, marks=pytest.mark.endurance)]
)
def test_mutants_of_a_new_seed(tmp_path, seconds):
    seed = secrets.randbelow(2**32)
    done = run_command(
        "tests.features.audio.fuzz", "--seconds", seconds, "--seed", seed, "--output", tmp_path, check=False
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0, f"seed {seed}"
    files, share = re.search(r"([\d,]+) mutants; samples were decoded of [\d,]+ \(([\d.]+)%\)", done.stdout).groups()
    assert int(files.replace(",", "")) >= 8 * seconds
    assert float(share) >= 100 * LEAST_SHARE
    assert "\n0 failures\n" in done.stdout


def test_a_mutant_follows_from_seed_and_number(bases):
    again = fuzz.by_kind(fuzz.made_bases())
    mutants = [fuzz.mutant(bases, 1, number) for number in range(50)]
    assert [fuzz.mutant(again, 1, number) for number in reversed(range(50))] == mutants[::-1]
    assert fuzz.mutant(bases, 2, 0) != mutants[0]
    assert len({made.content for made in mutants}) == 50


def test_bases_decode_but_for_the_mutations(bases):
    assert set(bases) == {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3", "rare"}
    for base in (base for kind in bases.values() for base in kind):
        assert len(base.content) <= 2**16
        info = probe(base.content)
        assert len(decode(base.content, info)) == info.frames > 0, base.name


def test_checksums_of_ogg_are_repaired_as_libogg_writes_them():
    content = io.BytesIO()
    soundfile.write(content, sine(440.0, 20_000), 16_000, format="OGG")
    whole = content.getvalue()
    pages = [match.start() for match in re.finditer(b"OggS", whole)]
    assert len(pages) >= 3
    damaged = bytearray(whole)
    for at in pages:
        damaged[at + 22 : at + 26] = b"\xff\0\xff\0"
    fuzz.repair_ogg(damaged)
    assert damaged == whole


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"most_seconds": 0.0}, r"it took \d"),
        ({"most_decoder_bytes": -1}, r"the process that decodes grew by [\d,]+ bytes for a file of [\d,]+"),
        ({"most_own_bytes": -(2**40)}, r"this process grew by [\d,]+ bytes for a file of [\d,]+"),
    ],
)
def test_what_is_beyond_a_bound_fails_and_is_kept(bases, folder, tmp_path, bounds, words):
    tally = fuzz.fuzz(bases, seed=3, files=2, folder=folder, output=tmp_path / "kept", first=40, **bounds)
    assert len(tally.failures) == 2
    for number, failure in zip((40, 41), tally.failures, strict=True):
        made = fuzz.mutant(bases, 3, number)
        kept = tmp_path / "kept" / f"3-{number}{made.extension}"
        assert kept.read_bytes() == made.content
        assert failure.startswith(f"FAILED seed 3 mutant {number} of {made.history}, kept as {kept}: ")
        assert re.search(words, failure)


def not_finite(path, spec):
    return np.full(spec.clip_samples or 5_000, np.nan, np.float32), 1.0, ""


def overflow(path, spec):
    raise OverflowError("Python int too large")


def exit_code(path, spec):
    raise ClipError("decode", Reason.DECODER_DIED, "the process that decoded it died (exit code 1)")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (not_finite, "the waveform is not finite"),
        (overflow, "OverflowError: Python int too large"),
        (exit_code, "an exception in the process that decodes"),
    ],
)
def test_what_a_decoder_must_not_do_fails(bases, folder, tmp_path, monkeypatch, wrong, words):
    # The first call is for the process that decodes to be there.
    whole, calls = fuzz.clip_waveform, []
    monkeypatch.setattr(
        fuzz, "clip_waveform", lambda *arguments: (wrong if calls else whole)(*arguments, *(calls.append(1) or ()))
    )
    tally = fuzz.fuzz(bases, seed=3, files=1, folder=folder, output=tmp_path / "kept")
    assert any(words in failure for failure in tally.failures)


def test_the_command_shows_by_its_exit_code_that_too_few_were_decoded(monkeypatch, tmp_path, no_ffmpeg, capsys):
    monkeypatch.setattr("sys.argv", ["fuzz", "--files", "3", "--seed", "1", "--output", str(tmp_path)])
    monkeypatch.setattr(fuzz, "LEAST_SHARE", 1.1)
    assert fuzz.main() == 1
    assert "seed 1; " in capsys.readouterr().out
