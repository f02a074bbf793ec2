import numpy as np
import pyarrow as pa
import pytest

from features.frontend.spec import FeatureSpec
from features.frontend.windows import Windowing
from features.io.unit_file import UnitFile
from model.inference.litert import BATCH_CLIPS
from model.scoring.plan import HEADERS_SCHEMA, WindowUnit, deal, plan_batches, read_batch
from tests.features.networks.small import small_spec
from tests.model.scoring.jobs import plan_of
from tests.signals import noise, write_wav

SPEC = FeatureSpec(
    front_end="stft", sample_rate_hz=8_000, clip_seconds=0.25, window_samples=128, hop_samples=64, fft_samples=128
)
BATCHES = [[WindowUnit("a.wav", 0, 1), WindowUnit("comma, \\xff.wav", 0, 255)], [WindowUnit("b.wav", 256, 44)]]


def test_a_file_that_is_alone_is_split_where_it_is_more_than_a_batch(tmp_path):
    write_wav(tmp_path / "long.wav", noise(537_000), 8_000)
    plan = plan_batches(str(tmp_path), ["long.wav"], SPEC, Windowing(least_seconds=0.125))
    assert list(plan.batches()) == [[WindowUnit("long.wav", 0, 256)], [WindowUnit("long.wav", 256, 13)]]
    assert (plan.rejects, plan.num_shortened()) == ([], 0)
    plan = plan_batches(str(tmp_path), ["long.wav"], SPEC, Windowing(least_seconds=0.126))
    assert list(plan.batches()) == [[WindowUnit("long.wav", 0, 256)], [WindowUnit("long.wav", 256, 12)]]
    assert (plan.num_shortened(), plan.num_shortened(["long.wav"]), plan.num_shortened(["other.wav"])) == (1, 0, 1)


def test_files_follow_one_another_and_none_is_split_that_fits_a_batch(tmp_path):
    for name, windows in {"a": 200, "b": 56, "c": 3, "d": 254}.items():
        write_wav(tmp_path / f"{name}.wav", noise(2_000 * windows), 8_000)
    (tmp_path / "text.wav").write_bytes(b"no sound " * 20)
    paths = ["a.wav", "missing.wav", "b.wav", "c.wav", "text.wav", "d.wav"]
    plan = plan_batches(str(tmp_path), paths, SPEC, Windowing(least_seconds=0.0125))
    assert list(plan.batches()) == [
        [WindowUnit("a.wav", 0, 200), WindowUnit("b.wav", 0, 56)],
        [WindowUnit("c.wav", 0, 3)],
        [WindowUnit("d.wav", 0, 254)],
    ]
    assert plan.batch_windows.tolist() == [256, 3, 254]
    assert [(reject.path, reject.stage, reject.reason) for reject in plan.rejects] == [
        ("missing.wav", "decode", "missing"),
        ("text.wav", "decode", "not_audio"),
    ]


def dealt_one_by_one(windows: list[int]) -> list[list[tuple[int, int, int]]]:
    """The rule, file by file: file, first window and number of windows of each unit of each batch."""
    batches: list[list[tuple[int, int, int]]] = []
    room = 0
    for file, count in enumerate(windows):
        for first in range(0, count, BATCH_CLIPS):
            unit = (file, first, min(BATCH_CLIPS, count - first))
            if unit[2] > room:
                batches.append([])
                room = BATCH_CLIPS
            batches[-1].append(unit)
            room -= unit[2]
    return batches


@pytest.mark.parametrize("most", [1, 2, 255, 256, 257, 1_000])
@pytest.mark.parametrize("files", [0, 1, 2, 300])
def test_columns_are_dealt_as_files_one_after_the_other(files, most):
    """0 windows are those of a reject."""
    windows = np.random.default_rng(files + most).integers(0, most, files, endpoint=True)
    paths = pa.chunked_array([[f"{file}.wav" for file in range(first, min(first + 99, files))]
                              for first in range(0, files, 99)], pa.string())  # fmt: skip
    rows = [{"windows": count, "shortened": count % 3 == 1, "seconds": count / 8, "in_order": count % 2 == 0,
             "reason": None if count else "empty"} for count in windows.tolist()]  # fmt: skip
    plan = deal(paths, pa.Table.from_pylist(rows, schema=HEADERS_SCHEMA), SPEC)
    expected = dealt_one_by_one(windows.tolist())
    assert [[(int(unit.path[:-4]), unit.first_window, unit.num_windows) for unit in batch]
            for batch in plan.batches()] == expected  # fmt: skip
    assert plan.batch_windows.tolist() == [sum(unit[2] for unit in batch) for batch in expected]
    assert plan.batch_goes_on.tolist() == [batch[0][1] > 0 and windows[batch[0][0]] % 2 == 0 for batch in expected]
    assert plan.batch_seconds == pytest.approx(plan.batch_windows / 8)
    assert plan.total_seconds(without=["1.wav"]) == pytest.approx((windows.sum() - windows[1:2].sum()) / 8)
    assert [reject.path for reject in plan.rejects] == [f"{file}.wav" for file in np.flatnonzero(windows == 0)]
    some = {"0.wav", "1.wav", "other.wav"}
    units = [unit[0] for batch in expected for unit in batch]
    assert plan.units_of(some) == {f"{file}.wav": units.count(file) for file in range(min(2, files))}
    assert plan.num_shortened(some) == sum(count % 3 == 1 for count in windows.tolist()[2:])


def headers_of(windows: list[int], seconds: list[float]) -> tuple[pa.ChunkedArray, pa.Table]:
    rows = [{"windows": count, "shortened": False, "seconds": length, "in_order": False}
            for count, length in zip(windows, seconds, strict=True)]  # fmt: skip
    names = [f"{file}.wav" for file in range(len(rows))]
    return pa.chunked_array([names]), pa.Table.from_pylist(rows, schema=HEADERS_SCHEMA)


def test_where_the_front_end_runs_a_network_its_windows_count():
    spec = small_spec()
    assert spec.count_frames(spec.clip_samples) == 4
    plan = deal(*headers_of([10, 5, 1, 0, 17, 33], [1.0] * 6), spec)
    assert [[(int(unit.path[:-4]), unit.first_window, unit.num_windows) for unit in batch]
            for batch in plan.batches()] == [
        [(0, 0, 10), (1, 0, 5), (2, 0, 1)], [(4, 0, 16)], [(4, 16, 1)], [(5, 0, 16)], [(5, 16, 16)], [(5, 32, 1)],
    ]  # fmt: skip
    assert plan.batch_network_windows.tolist() == [64, 64, 4, 64, 64, 4]
    of_spectra = deal(*headers_of([10, 53], [1.0] * 2), SPEC)
    assert of_spectra.batch_network_windows.tolist() == [0]


def test_recordings_that_are_one_window_each_count_by_their_length():
    spec = small_spec(clip_seconds=None)  # 800 samples of 8,000 Hz, half a window apart
    seconds = [0.05, 1.65, 1.60, 100.0, 0.1, 0.101]
    plan = deal(*headers_of([1] * 6, seconds), spec)
    assert plan.network_windows.tolist() == [1, 32, 31, 1999, 1, 2]
    assert [[int(unit.path[:-4]) for unit in batch] for batch in plan.batches()] == [[0, 1, 2], [3], [4, 5]]
    assert plan.batch_network_windows.tolist() == [64, 1999, 3]


def test_nothing_to_label_is_no_batch(tmp_path):
    plan = plan_batches(str(tmp_path), [], SPEC, Windowing())
    assert (list(plan.batches()), plan.rejects, plan.batch_windows.tolist()) == ([], [], [])


def test_a_work_list_gives_its_batches_back(tmp_path):
    plan_of(BATCHES).write(tmp_path / "batches.arrow")
    with UnitFile(tmp_path / "batches.arrow") as work_list:
        assert [read_batch(work_list, number) for number in range(2)] == BATCHES
