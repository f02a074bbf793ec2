import shutil
from dataclasses import fields, replace

import numpy as np
import pytest

from features.errors import Reject, RunError
from features.frontend.windows import Windowing
from model.scoring.job import JobSettings, open_parts
from model.scoring.plan import WindowUnit
from tests.model.scoring.jobs import SETTINGS, labels_of, plan_job, plan_of
from tests.signals import noise, write_wav


def test_finished_parts_are_kept_for_the_same_job_only(tmp_path):
    source = tmp_path / "source"
    for name in ("a.wav", "b.wav"):
        write_wav(source / name, noise(300 * 4_000), 4_000)

    def unfinished(settings: JobSettings) -> list[int]:
        return plan_job(tmp_path / "parts", source, settings).parts.unfinished(4)

    assert unfinished(SETTINGS) == [0, 1, 2, 3]
    changes = {
        "network": "0b" * 32, "temperature": 1.25, "executor": "litert 3",
        "windowing": Windowing(), "embeddings": "float32", "versions": {"numpy": "9.9"},
    }  # fmt: skip
    assert list(changes) == [field.name for field in fields(JobSettings)]
    for name, value in changes.items():
        plan_job(tmp_path / "parts", source).parts.write(1, labels_of([44]))
        assert unfinished(SETTINGS) == [0, 2, 3]
        assert unfinished(replace(SETTINGS, **{name: value})) == [0, 1, 2, 3]
    plan_job(tmp_path / "parts", source).parts.write(1, labels_of([44]))
    write_wav(source / "b.wav", noise(301 * 4_000), 4_000)
    assert unfinished(SETTINGS) == [0, 1, 2, 3]


def test_another_plan_is_another_job(tmp_path):
    write_wav(tmp_path / "source" / "a.wav", noise(4_000), 4_000)
    source = plan_job(tmp_path / "parts", tmp_path / "source").source
    batches = [[WindowUnit("a.wav", 0, 1), WindowUnit("c.wav", 0, 255)], [WindowUnit("b.wav", 256, 44)]]
    plans = [
        batches,
        batches[::-1],
        [batches[0] + batches[1]],
        [batches[0], [WindowUnit("b.wav", 256, 43)]],
        [batches[0], [WindowUnit("b.wav", 255, 44)]],
        [batches[0], [WindowUnit("a.wav", 256, 44)]],
    ]
    names = {open_parts(tmp_path / "parts", source, plan_of(plan), SETTINGS).folder.name for plan in plans}
    assert len(names) == len(plans)


def test_a_part_of_another_job_is_not_finished(tmp_path):
    """As a worker writes it whose driver was killed, or as parts are copied from one folder to another."""
    write_wav(tmp_path / "source" / "a.wav", noise(300 * 4_000), 4_000)
    left = plan_job(tmp_path / "parts", tmp_path / "source", replace(SETTINGS, temperature=2.0)).parts
    parts = plan_job(tmp_path / "parts", tmp_path / "source").parts
    left.folder.mkdir()  # it was removed when the other job began
    for number in range(2):
        left.write(number, labels_of([44]))
    assert parts.unfinished(2) == [0, 1]
    for path in left.folder.iterdir():
        shutil.copy(path, parts.folder)
    assert parts.unfinished(2) == [0, 1]
    for read in (parts.read_note, parts.read):
        with pytest.raises(RunError, match=r"00000000\.part is missing or damaged \(it is of another job\)"):
            read(0)


@pytest.mark.parametrize("embedding_size", [0, 5])
@pytest.mark.parametrize("windows", [[], [0], [1], [3, 0, 256]])
def test_a_part_is_read_as_it_was_written(tmp_path, windows, embedding_size):
    write_wav(tmp_path / "source" / "a.wav", noise(4_000), 4_000)
    parts = plan_job(tmp_path / "parts", tmp_path / "source").parts
    rejects = [Reject("ü, \\xff.wav", "decode", "empty", 'no "samples"')]
    written = replace(labels_of(windows, embedding_size=embedding_size), rejects=rejects, warnings=rejects * 2_000)
    parts.write(7, written)
    note, found = parts.read_note(7), parts.read(7)
    assert (note.windows, note.rejects, note.warnings, note.scored) == (windows, rejects, rejects * 2_000, len(windows))
    assert [path.name for path in parts.folder.glob("0*")] == ["00000007.part"]
    for name, value in vars(written).items():
        if isinstance(value, np.ndarray):
            assert getattr(found, name).dtype == value.dtype
            np.testing.assert_array_equal(getattr(found, name), value)
        else:
            assert getattr(found, name) == value


def test_a_part_that_is_spoiled_anywhere_is_not_finished(tmp_path):
    write_wav(tmp_path / "source" / "a.wav", noise(4_000), 4_000)
    parts = plan_job(tmp_path / "parts", tmp_path / "source").parts
    parts.write(0, labels_of([2], embedding_size=1))
    whole = parts.part_path(0).read_bytes()
    assert parts.unfinished(1) == []
    spoiled = [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in range(len(whole))]
    for content in (*spoiled, *(whole[:length] for length in range(len(whole))), whole + b"\0"):
        parts.part_path(0).write_bytes(content)
        assert parts.unfinished(1) == [0]
        with pytest.raises(RunError, match=r"00000000\.part is missing or damaged"):
            parts.read(0)
    parts.part_path(0).unlink()
    with pytest.raises(RunError, match=r"00000000\.part is missing or damaged"):
        parts.read_note(0)
