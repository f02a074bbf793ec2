"""Runs that are killed at random instants: what is there is whole, and the next run ends in an unbroken run's bytes."""

import os
import secrets
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.store.layout import FORMATS
from tests.conftest import call, start_command, wait_until
from tests.pipelines.conftest import workers_of
from tests.pipelines.instants import COMMIT, WORK, Run
from tests.pipelines.sets import (
    Case,
    check_whole,
    differences,
    featurize,
    finished_shards,
    make_case,
    named,
)

# The trial draws new instants each time; this repeats those of a seed that it printed.
SEED_VARIABLE = "SOUNDMILL_TRIAL_SEED"
IN_PROCESS, COMMAND, AT_A_MOMENT = "without Beam", "command", "command, by the clock"
SMALL = "cold", "incremental", "merge"
_MOST_PAUSE_SECONDS = 0.4


@dataclass(frozen=True)
class Kill:
    """A run that is to be killed.

    Attributes:
        form: what runs: the command but for Beam, in a forked process; the command, stopped before a line; or the
            command as it is, stopped some time after it has finished some shards.
        scenario: what the run has to do.
        storage_format: `tfrecord` or `parquet`.
        part: `work` or `commit`.
        place: how far in that part, from 0 to 1.
        workers: worker processes.
    """

    form: str
    scenario: str
    storage_format: str
    part: str
    place: float
    workers: int = 1


class Trial:
    """Makes each kind of set once, and lets runs into copies of it be killed.

    Attributes:
        stages: number of kills in `cold`, `incremental`, `merge` and `commit`.
        lines: what to say of each.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.stages: Counter[str] = Counter()
        self.lines: list[str] = []
        self.seed = seed
        self._generator = np.random.default_rng(seed)
        self._folder, self._note = folder, folder / "note"
        self._cases: dict[tuple[str, str], tuple[Case, dict[str, Any]]] = {}

    def places(self, number: int) -> list[float]:
        """Draws places one after the other, so that they are spread."""
        return [(row + self._generator.random()) / number for row in range(number)]

    def kill(self, kill: Kill) -> None:
        """Lets a run be killed, looks at what it left, and runs again."""
        case, unbroken = self._case(kill)
        turn = len(self.lines)
        folder = case.copy(self._folder / f"set-{turn}")
        if kill.form == AT_A_MOMENT:
            place = self._at_a_moment(case, folder, kill)
        else:
            # Every second time all lines of the code are alike, be they run once or a thousand times.
            numbers = list(unbroken["first"][kill.part].values()) if turn % 2 else range(unbroken["counts"][kill.part])
            number = numbers[int(kill.place * len(numbers))]
            stop = self._in_process if kill.form == IN_PROCESS else self._command
            place = stop(case, folder, kill.part, number)
        tables = list(folder.glob("clips-*")) if folder.exists() else []
        begun = len(tables) > len(list(case.base.glob("clips-*")) if case.base else [])
        stage = COMMIT if begun or kill.part == COMMIT else kill.scenario.removeprefix("slow ")
        self.stages[stage] += 1
        finished = f"{len(case.new_shards(folder))} of {len(case.new_shards(case.unbroken))} shards finished"
        partial = f"{len(list(folder.rglob('*.partial')))} files half-written"
        self.lines.append(f"{turn + 1:2} {stage:12}{kill.storage_format:9}{kill.form:24}{place}; {finished}, {partial}")
        try:
            self._goes_on(case, folder, with_beam=kill.form != IN_PROCESS)
        except Exception as error:
            raise AssertionError(f"seed {self.seed}, kill {self.lines[-1]}: {error!r}") from error
        shutil.rmtree(folder)

    def _case(self, kill: Kill) -> tuple[Case, dict[str, Any]]:
        """Returns the set and what was noted of the unbroken run."""
        key = (kill.scenario, kill.storage_format)
        if key not in self._cases:
            case = make_case(self._folder / "-".join(key).replace(" ", "-"), *key)
            run = Run(case.request(case.copy(case.unbroken)), self._note)
            self._cases[key] = case, run.end()
        return self._cases[key]

    def _in_process(self, case: Case, folder: Path, part: str, number: int) -> str:
        run = Run(case.request(folder), self._note, part, number)
        assert run.ends_within(60)
        assert run.process.exitcode == -signal.SIGKILL
        return run.place

    def _command(self, case: Case, folder: Path, part: str, number: int) -> str:
        self._note.unlink(missing_ok=True)
        process = start_command(
            "tests.pipelines.instants", self._note, part, number, int(signal.SIGKILL), "pipelines.featurize",
            *case.options(folder),
        )  # fmt: skip
        errors = process.communicate(timeout=120)[1]
        assert process.returncode == -signal.SIGKILL, errors
        return self._note.read_text()

    def _at_a_moment(self, case: Case, folder: Path, kill: Kill) -> str:
        number, place = len(case.new_shards(case.unbroken)), kill.place
        whole_group = len(self.lines) % 2 == 0  # else of a run with workers the driver alone
        while True:
            awaited, rest = divmod(place * number, 1)
            process = start_command("pipelines.featurize", *case.options(folder, kill.workers))
            wait_until(lambda: process.poll() is not None or is_at(case, folder, awaited))  # noqa: B023
            time.sleep(rest * _MOST_PAUSE_SECONDS)
            workers = workers_of(process.pid)
            if process.poll() is None:
                (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
            # Workers that are left alone end a moment later: the next run begins while they continue.
            if process.wait(60) == -signal.SIGKILL:
                break
            assert process.returncode == 0
            place /= 2  # it was over before it could be stopped
            shutil.rmtree(folder)
            case.copy(folder)
        who = "all its processes" if whole_group or not workers else f"but not its {len(workers)} workers"
        return f"{1000 * rest * _MOST_PAUSE_SECONDS:.0f} ms after {int(awaited)} shards, {who}"

    def _goes_on(self, case: Case, folder: Path, with_beam: bool) -> None:
        check_whole(folder, case.storage_format)
        finished = finished_shards(folder)
        if with_beam:
            assert call("pipelines.featurize", *case.options(folder)) == 0
        else:
            featurize(case.request(folder))
        assert differences(named(folder), named(case.unbroken)) == []
        check_whole(folder, case.storage_format)
        now = finished_shards(folder)
        assert [name for name, file in finished.items() if now.get(name) != file] == [], "built twice"
        _, figures = featurize(case.request(folder))
        assert (figures["computed"], figures["committed"]) == (0, False)
        assert differences(named(folder), named(case.unbroken)) == []


def is_at(case: Case, folder: Path, shards: float) -> bool:
    return bool(list(folder.glob("work/*"))) and len(case.new_shards(folder)) >= shards


def kills(trial: Trial, form: str, number: int, *scenarios: str, part: str = WORK, **options: int) -> list[Kill]:
    """Draws so many instants for each format and scenario."""
    return [
        Kill(form, scenario, storage_format, part, place, **options)
        for storage_format in FORMATS
        for scenario in scenarios
        for place in trial.places(number)
    ]


def test_a_run_that_is_killed_costs_nothing_but_time(tmp_path_factory):
    trial = Trial(tmp_path_factory.mktemp("kills"), seed=1)
    chosen = [("cold", "tfrecord", WORK), ("incremental", "tfrecord", WORK), ("incremental", "tfrecord", COMMIT),
              ("merge", "parquet", WORK), ("merge", "parquet", COMMIT), ("cold", "parquet", COMMIT)]  # fmt: skip
    for (*what, part), place in zip(chosen, trial.places(len(chosen)), strict=True):
        trial.kill(Kill(IN_PROCESS, *what, part, place))
    print(*trial.lines, sep="\n")


@pytest.mark.trial
def test_commands_that_are_killed_cost_nothing_but_time(tmp_path_factory):
    """One kill of each kind that the test above leaves out and the one below makes many of."""
    trial = Trial(tmp_path_factory.mktemp("kills"), seed=2)
    trial.kill(Kill(COMMAND, "incremental", "tfrecord", WORK, place=0.5))
    trial.kill(Kill(AT_A_MOMENT, "slow cold", "parquet", WORK, place=0.5, workers=2))
    assert trial.stages.total() == 2
    assert set(trial.stages) <= {*SMALL, COMMIT}
    print(*trial.lines, sep="\n")


@pytest.mark.endurance
def test_fifty_runs_that_are_killed_cost_nothing_but_time(tmp_path_factory, capsys):
    trial = Trial(tmp_path_factory.mktemp("kills"), int(os.environ.get(SEED_VARIABLE) or secrets.randbits(32)))
    chosen = [
        *kills(trial, IN_PROCESS, 3, *SMALL),
        *kills(trial, IN_PROCESS, 2, *SMALL, part=COMMIT),
        *kills(trial, COMMAND, 1, *SMALL),
        *kills(trial, COMMAND, 1, *SMALL, part=COMMIT),
        *kills(trial, AT_A_MOMENT, 1, "slow cold", "slow incremental"),
        *kills(trial, AT_A_MOMENT, 1, "slow cold", "slow incremental", workers=2),
    ]
    with capsys.disabled():
        print(f"\n{len(chosen)} kills, {SEED_VARIABLE}={trial.seed}")
    for kill in chosen:
        trial.kill(kill)
        with capsys.disabled():
            print(trial.lines[-1])
    with capsys.disabled():
        print(", ".join(f"{number} {stage}" for stage, number in trial.stages.items()))
    assert len(chosen) == 50
    assert trial.stages[COMMIT] >= 10
    assert all(trial.stages[name] >= 5 for name in SMALL)
