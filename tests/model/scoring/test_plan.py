from features.frontend.spec import FeatureSpec
from model.scoring.plan import WindowUnit, plan_batches, plan_text, read_batch, write_batches
from tests.signals import noise, write_wav

SPEC = FeatureSpec(
    front_end="stft", sample_rate_hz=8_000, clip_seconds=0.25, window_samples=128, hop_samples=64, fft_samples=128
)
BATCHES = [[WindowUnit("a.wav", 0, 1), WindowUnit("comma, \\xff.wav", 0, 255)], [WindowUnit("b.wav", 256, 44)]]


def test_a_file_that_is_alone_is_split_where_it_is_more_than_a_batch(tmp_path):
    write_wav(tmp_path / "long.wav", noise(537_000), 8_000)
    batches, rejects, shortened = plan_batches(str(tmp_path), ["long.wav"], SPEC, 0.125)
    assert batches == [[WindowUnit("long.wav", 0, 256)], [WindowUnit("long.wav", 256, 13)]]
    assert (rejects, shortened) == ([], [])
    batches, _, shortened = plan_batches(str(tmp_path), ["long.wav"], SPEC, 0.126)
    assert batches == [[WindowUnit("long.wav", 0, 256)], [WindowUnit("long.wav", 256, 12)]]
    assert shortened == ["long.wav"]


def test_files_follow_one_another_and_none_is_split_that_fits_a_batch(tmp_path):
    for name, windows in {"a": 200, "b": 56, "c": 3, "d": 254}.items():
        write_wav(tmp_path / f"{name}.wav", noise(2_000 * windows), 8_000)
    (tmp_path / "text.wav").write_bytes(b"no sound " * 20)
    paths = ["a.wav", "missing.wav", "b.wav", "c.wav", "text.wav", "d.wav"]
    batches, rejects, _ = plan_batches(str(tmp_path), paths, SPEC, 0.0125)
    assert batches == [
        [WindowUnit("a.wav", 0, 200), WindowUnit("b.wav", 0, 56)],
        [WindowUnit("c.wav", 0, 3)],
        [WindowUnit("d.wav", 0, 254)],
    ]
    assert [(reject.path, reject.stage, reject.reason) for reject in rejects] == [
        ("missing.wav", "decode", "missing"),
        ("text.wav", "decode", "not_audio"),
    ]


def test_nothing_to_label_is_no_batch(tmp_path):
    assert plan_batches(str(tmp_path), [], SPEC, 0.0) == ([], [], [])


def test_a_work_list_gives_its_batches_back(tmp_path):
    write_batches(tmp_path / "batches.parquet", BATCHES)
    assert [read_batch(tmp_path / "batches.parquet", number) for number in range(2)] == BATCHES


def test_another_plan_has_another_text():
    plans = [
        BATCHES,
        BATCHES[::-1],
        [BATCHES[0] + BATCHES[1]],
        [BATCHES[0], [WindowUnit("b.wav", 256, 43)]],
        [BATCHES[0], [WindowUnit("b.wav", 255, 44)]],
        [BATCHES[0], [WindowUnit("c.wav", 256, 44)]],
    ]
    assert len({plan_text(plan) for plan in plans}) == len(plans)
