import math
import shutil
from dataclasses import fields, replace

import pytest

from features.errors import Reject, RunError
from features.frontend.windows import Windowing
from model.scoring.job import JobSettings, PartNote, open_parts
from model.scoring.label_forms import FORMS
from model.scoring.labels_csv import Labels, Score
from model.scoring.plan import WindowUnit
from tests.model.scoring.jobs import SETTINGS, plan_job, plan_of
from tests.signals import noise, write_wav

NOTE = PartNote(
    job="0a" * 32,
    crc32c=7,
    scored=2,
    windows=[1, 0, 256],
    rejects=[Reject("ü, \\xff.wav", "decode", "empty", 'no "samples"')],
    warnings=[Reject("b.wav", "fit", "silent", "every sample is zero")],
)
NOTE_TEXT = (
    f'{{"job": "{"0a" * 32}", "crc32c": 7, "scored": 2, "windows": [1, 0, 256], '
    '"rejects": [["\\u00fc, \\\\xff.wav", "decode", "empty", "no \\"samples\\""]], '
    '"warnings": [["b.wav", "fit", "silent", "every sample is zero"]]}'
)


def test_a_note_keeps_its_form():
    assert NOTE.to_json() == NOTE_TEXT
    assert PartNote.from_json(NOTE_TEXT) == NOTE
    assert PartNote.from_json(NOTE_TEXT.encode()) == NOTE


@pytest.mark.parametrize(
    "text",
    ["", NOTE_TEXT[:-1], "[]", "{}", "null", NOTE_TEXT.replace('"scored"', '"done"'),
     NOTE_TEXT.replace('"fit", ', ""), NOTE_TEXT.replace('[["b.wav"', '[7, ["b.wav"')],
)  # fmt: skip
def test_what_is_not_a_note_is_an_error_of_its_value(text):
    with pytest.raises(ValueError):
        PartNote.from_json(text)


def test_finished_parts_are_kept_for_the_same_job_only(tmp_path):
    source = tmp_path / "source"
    for name in ("a.wav", "b.wav"):
        write_wav(source / name, noise(300 * 4_000), 4_000)
    labels = Labels([], [], [], 1, [44])

    def unfinished(settings: JobSettings) -> list[int]:
        return plan_job(tmp_path / "parts", source, settings).parts.unfinished(4)

    assert unfinished(SETTINGS) == [0, 1, 2, 3]
    changes = {
        "network": "0b" * 32, "temperature": 1.25, "top": 2, "thresholds": (0.0, 0.5, math.inf), "executor": "litert 3",
        "windowing": Windowing(),
    }  # fmt: skip
    assert list(changes) == [field.name for field in fields(JobSettings)]
    for name, value in changes.items():
        plan_job(tmp_path / "parts", source).parts.write(1, labels, 1)
        assert unfinished(SETTINGS) == [0, 2, 3]
        assert unfinished(replace(SETTINGS, **{name: value})) == [0, 1, 2, 3]
    plan_job(tmp_path / "parts", source).parts.write(1, labels, 1)
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
    names = {open_parts(tmp_path / "parts", FORMS[0], source, plan_of(plan), SETTINGS).folder.name for plan in plans}
    assert len(names) == len(plans)


def test_a_part_of_another_job_is_not_finished(tmp_path):
    """As a worker writes it whose driver was killed, or as parts are copied from one folder to another."""
    write_wav(tmp_path / "source" / "a.wav", noise(300 * 4_000), 4_000)
    left = plan_job(tmp_path / "parts", tmp_path / "source", replace(SETTINGS, top=2)).parts
    parts = plan_job(tmp_path / "parts", tmp_path / "source").parts
    left.folder.mkdir()  # it was removed when the other job began
    for number in range(2):
        left.write(number, Labels([], [], [], 1, [44]), 2)
    assert parts.unfinished(2) == [0, 1]
    for path in left.folder.iterdir():
        shutil.copy(path, parts.folder)
    assert parts.unfinished(2) == [0, 1]
    with pytest.raises(RunError, match=r"00000000\.csv is damaged or of another job"):
        parts.read_scores(0, parts.read_note(0))


def test_a_part_without_its_lines_or_with_others_is_not_finished(tmp_path):
    write_wav(tmp_path / "source" / "a.wav", noise(600 * 4_000), 4_000)
    parts = plan_job(tmp_path / "parts", tmp_path / "source").parts
    score = Score(path="a.wav", start_seconds=0.0, end_seconds=1.0, label="high", probability=0.5, rank=1)
    for number in range(3):
        parts.write(number, Labels([score], [], [], 1, [1]), 1)
    assert parts.unfinished(3) == []
    (parts.folder / "00000000.csv").unlink()
    (parts.folder / "00000001.csv").write_bytes((parts.folder / "00000001.csv").read_bytes()[:-1])
    parts.note_path(2).write_bytes(parts.note_path(2).read_bytes()[:-1])
    assert parts.unfinished(3) == [0, 1, 2]
    with pytest.raises(RunError, match=r"00000002\.json is missing or damaged"):
        parts.read_note(2)
