import wave

import numpy as np
import pytest

from features.sources.folder import scan
from features.sources.official_lists import read_lists
from features.sources.partition import OFFICIAL_LISTS
from pipelines.speech.voices import UNCLEAR_VARIANTS, WORDS, clip_paths, partition_variants, plan_speakers
from tests.conftest import run_command

VARIANTS = [f"{name}{number}" for name in ("ann", "bob", "cleo", "dan") for number in range(12)] + ["f1", "whisper"]


def test_no_variant_speaks_in_two_partitions():
    speakers = plan_speakers(VARIANTS, 800, seed=0)
    variants = {part: {s.variant for s in speakers if s.partition == part} for part in ("training", "validation")}
    tested = {s.variant for s in speakers if s.partition in ("testing", "unseen")}
    assert not variants["training"] & variants["validation"]
    assert not tested & (variants["training"] | variants["validation"])
    assert not UNCLEAR_VARIANTS & {s.variant for s in speakers}
    assert len({s.identifier for s in speakers}) == len(speakers) >= 100


def test_near_copies_of_a_voice_stay_together():
    parts = partition_variants(VARIANTS, seed=3)
    home = {variant: part for part, members in parts.items() for variant in members}
    assert sorted(home) == sorted(VARIANTS)
    assert len({home[f"bob{number}"] for number in range(12)}) == 1


def test_the_plan_follows_from_the_seed_and_not_from_the_order():
    assert plan_speakers(VARIANTS, 80, 0) == plan_speakers(VARIANTS[::-1], 80, 0) != plan_speakers(VARIANTS, 80, 1)


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    pytest.importorskip("espeakng_loader", reason="the extra soundmill[demo] is not installed")
    folder = tmp_path_factory.mktemp("words")
    for workers in (1, 2):
        run_command(
            "pipelines.speech.spoken_words", "--output", folder / str(workers), "--clips", 64, "--workers", workers
        )  # fmt: skip
    return folder


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_words_are_the_same_bytes_for_any_number_of_workers(trees):
    first, second = content(trees / "1"), content(trees / "2")
    assert first == second
    assert len(first) == 64 + 80 + 2


def test_clips_are_one_second_of_16_bit_pcm_and_all_different(trees):
    clips = {}
    for path in (trees / "1").rglob("*.wav"):
        with wave.open(str(path)) as file:
            assert file.getparams()[:4] == (1, 2, 16_000, 16_000)
            clips[path.name, path.parent.name] = samples = np.frombuffer(file.readframes(16_000), np.int16)
        assert 3_000 < np.abs(samples).max() < 32_767
    assert len({samples.tobytes() for samples in clips.values()}) == len(clips)


def test_the_lists_name_clips_that_are_there(trees):
    source = scan(str(trees / "1" / "labelled"), labelled=True)
    listed, notes = read_lists(source.root, OFFICIAL_LISTS, source.clips["path"])
    assert not notes
    assert set(listed.values()) == {"validation", "testing"}
    assert sorted(set(source.clips["label"].to_pylist())) == sorted(WORDS)


def test_a_folder_with_something_in_it_is_refused(trees):
    result = run_command("pipelines.speech.spoken_words", "--output", trees, check=False)
    assert result.returncode == 2
    assert result.stderr == f"error: {trees} is not an empty folder; give another --output\n"


def test_unseen_clips_tell_their_word_in_the_name():
    unseen = [speaker for speaker in plan_speakers(VARIANTS, 8, 0) if speaker.partition == "unseen"]
    assert [path for _, _, path in clip_paths(unseen[0], 8)][:2] == ["unseen/0008_down.wav", "unseen/0009_go.wav"]
