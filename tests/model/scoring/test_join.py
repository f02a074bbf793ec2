import csv
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from features.errors import Reject, RunError
from features.sources.policies import remark
from model.labels.labels import LabelRules
from model.scoring.increment import everything
from model.scoring.join import JoinJob, join
from model.scoring.outcome import Outcome, file_warnings
from model.scoring.output_files import OutputFiles
from tests.model.scoring.jobs import SETTINGS, PlannedJob, labels_of, plan_job, plan_of
from tests.signals import noise, write_wav

RULES = LabelRules(("x", "y", "z"))


@pytest.fixture
def planned(tmp_path) -> PlannedJob:
    """A recording of 300 windows in two units and short ones after it: two batches."""
    write_wav(tmp_path / "source" / "a.wav", noise(300 * 4_000), 4_000)
    for name in ("b.wav", "c.wav"):
        write_wav(tmp_path / "source" / name, noise(4_000), 4_000)
    return plan_job(tmp_path / "parts", tmp_path / "source")


def write_parts(planned: PlannedJob, **failed: int) -> None:
    """Writes parts with one line a window; of each file in `failed` the unit of that number is a reject."""
    seen: Counter[str] = Counter()
    for number, batch in enumerate(planned.plan.batches()):
        starts, rejects, windows = [], [], []
        for unit in batch:
            name = unit.path.removesuffix(".wav")
            if failed.get(name) == seen[name]:
                rejects.append(Reject(unit.path, "decode", "damaged", "an error while it is decoded"))
                windows.append(0)
            else:
                windows.append(unit.num_windows)
                starts += range(unit.first_window, unit.first_window + unit.num_windows)
            seen[name] += 1
        planned.parts.write(number, labels_of(windows, rejects, starts))


def joined(planned: PlannedJob, folder: Path, rejects: tuple[Reject, ...] = ()) -> Outcome:
    job = JoinJob(
        outputs=OutputFiles(str(folder / "labels.csv")),
        increment=everything(planned.source, {}),
        rejects=list(rejects),
        allowed=range(len(RULES.classes)),
        rules=RULES,
        policies={},
    )
    return join(planned.parts, planned.plan, job)


def test_parts_are_joined_in_the_order_of_the_plan(planned, tmp_path):
    write_parts(planned)
    outcome = joined(planned, tmp_path)
    assert (outcome.files, outcome.windows, outcome.rejects, outcome.warnings) == (3, 302, [], [])
    with open(tmp_path / "labels.csv", newline="") as file:
        rows = [(row["path"], float(row["start_seconds"])) for row in csv.DictReader(file)]
    assert rows == [("a.wav", start) for start in range(300)] + [("b.wav", 0), ("c.wav", 0)]
    assert (tmp_path / "labels.rejects.csv").read_text() == "path,stage,reason,message,size\n"
    assert (tmp_path / "labels.warnings.csv").read_text() == "path,stage,reason,message,size\n"


@pytest.mark.parametrize("unit", [0, 1])
def test_a_file_one_part_of_which_fails_is_rejected_as_a_whole(planned, tmp_path, unit):
    write_parts(planned, a=unit)
    outcome = joined(planned, tmp_path, rejects=(Reject("aa.wav", "scan", "missing", "is not there"),))
    assert (outcome.files, outcome.windows) == (2, 2)
    assert [(reject.path, reject.reason, reject.size) for reject in outcome.rejects] == [
        ("a.wav", "damaged", 44 + 2 * 300 * 4_000),
        ("aa.wav", "missing", None),
    ]
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["path", "b.wav", "c.wav"]


def test_files_that_are_in_no_batch_alone_are_an_error(planned, tmp_path):
    reject = Reject("z.wav", "decode", "empty", "no samples")
    source = replace(planned.source, clips=planned.source.clips.slice(0, 0))
    outputs = OutputFiles(str(tmp_path / "labels.csv"))
    job = JoinJob(outputs, everything(source, {}), [reject], allowed=[0, 1, 2], rules=RULES, policies={})
    with pytest.raises(RunError, match=r"every file was rejected, 1 in all; the first: z\.wav: empty, no samples"):
        join(planned.parts, plan_of([]), job)
    assert [path.name for path in tmp_path.glob("labels*.csv")] == ["labels.rejects.csv"]
    assert (tmp_path / "labels.rejects.csv").read_text().splitlines()[1:] == ["z.wav,decode,empty,no samples,"]


def test_a_part_of_another_job_is_never_joined(planned, tmp_path):
    write_parts(planned)
    other = plan_job(tmp_path / "other", tmp_path / "source", replace(SETTINGS, temperature=2.0))
    for path in planned.parts.folder.glob("0*"):
        shutil.copy(path, other.parts.folder)
    with pytest.raises(RunError, match=r"00000000\.part is missing or damaged \(it is of another job\)"):
        joined(other, tmp_path)
    assert not (tmp_path / "labels.csv").exists()


def test_a_part_that_is_missing_or_of_another_plan_is_an_error(planned, tmp_path):
    write_parts(planned)
    whole = list(planned.plan.batches())
    less = replace(planned, plan=plan_of([whole[0], whole[1][:-1]]))
    with pytest.raises(RunError, match=r"of 3 units of work 4 were scored and 0 rejected"):
        joined(less, tmp_path)
    planned.parts.part_path(1).unlink()
    with pytest.raises(RunError, match=r"00000001\.part is missing or damaged"):
        joined(planned, tmp_path)
    assert not list(tmp_path.glob("labels*.csv"))


def test_a_file_is_silent_where_all_of_it_is_and_has_each_other_warning_of_any_part_once():
    units = Counter({"all.wav": 2, "half.wav": 2, "both.wav": 2, "cut.wav": 3})
    found = [("all.wav", "silent"), ("half.wav", "silent"), ("all.wav", "silent"), ("both.wav", "silent"),
             ("both.wav", "truncated"), ("cut.wav", "truncated"), ("cut.wav", "truncated"), ("cut.wav", "wrong_size"),
             ("all.wav", "wrong_size"), ("cut.wav", "wrong_size")]  # fmt: skip
    warnings = file_warnings([remark(path, reason, "what was met") for path, reason in found], units)
    assert [(warning.path, warning.reason) for warning in warnings] == [
        ("all.wav", "silent"),
        ("both.wav", "truncated"),
        ("cut.wav", "truncated"),
        ("cut.wav", "wrong_size"),
        ("all.wav", "wrong_size"),
    ]
