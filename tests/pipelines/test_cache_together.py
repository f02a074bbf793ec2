"""Runs into one folder at once, and prunes and readers beside them: one commits, the others say so, nothing is lost."""

import os
import re
import secrets
import shutil
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.store.layout import FORMATS
from tests.conftest import start_command
from tests.pipelines.instants import COMMIT, WORK, Run
from tests.pipelines.sets import (
    Case,
    check_whole,
    differences,
    featurize,
    finished_shards,
    make_case,
    named,
    put,
)
from tests.pipelines.test_cache_kills import SEED_VARIABLE

ANOTHER = "another featurize committed into "
RUNNING = "a featurize is running into "
_BLOCKED_SECONDS = 0.4


@pytest.fixture
def start(tmp_path):
    """Starts runs, and ends those that a test that failed left behind, stopped as they may be."""
    runs = []

    def started(case: Case, folder: Path, *instant: Any) -> Run:
        runs.append(Run(case.request(folder), tmp_path / f"note-{len(runs)}", *instant))
        return runs[-1]

    yield started
    for run in runs:
        run.kill()


def stopped(start, case: Case, folder: Path, part: str, which: int | str) -> Run:
    """Starts a run that is stopped at an instant."""
    run = start(case, folder, part, which, signal.SIGSTOP)
    run.wait_until_stopped()
    return run


def is_brought_up(case: Case, folder: Path, states: bool = True) -> None:
    """Checks that the set is the one of an unbroken run, and that a further run finds nothing to do."""
    check_whole(folder, case.storage_format)
    _, figures = featurize(case.request(folder))
    assert (figures["computed"], figures["committed"]) == (0, False)
    assert differences(named(folder, states), named(case.unbroken, states)) == []


def add_a_clip(case: Case) -> None:
    put(case.root, "yes/fold-3_new.wav", 900)


def test_a_run_that_began_before_a_file_came_does_not_undo_one_that_saw_it(start, tmp_path):
    case = make_case(tmp_path / "case", "incremental", "tfrecord")
    folder = case.copy(tmp_path / "set")
    early = stopped(start, case, folder, WORK, "write_report")
    add_a_clip(case)
    featurize(case.request(case.copy(case.unbroken)))
    assert start(case, folder).end()["error"] is None
    finished = finished_shards(folder)
    early.go_on()
    assert early.end()["error"] == f"{ANOTHER}{folder} while this one ran; run it again, finished shards are kept"
    assert finished.items() <= finished_shards(folder).items()
    is_brought_up(case, folder)


def test_what_a_run_that_came_second_has_finished_is_not_computed_again(start, tmp_path):
    case = make_case(tmp_path / "case", "incremental", "parquet")
    folder = case.copy(tmp_path / "set")
    early = stopped(start, case, folder, WORK, "write_report")
    featurize(case.request(case.copy(case.unbroken)))
    add_a_clip(case)
    late = stopped(start, case, folder, COMMIT, 0)
    early.go_on()
    assert early.end()["error"] is None
    late.go_on()
    assert late.end()["error"].startswith(ANOTHER)
    _, figures = featurize(case.request(folder))
    assert figures["computed"] == 0
    featurize(case.request(case.unbroken))
    is_brought_up(case, folder)


def test_a_run_that_is_killed_while_it_holds_the_lock_blocks_no_other(start, tmp_path):
    case = make_case(tmp_path / "case", "incremental", "tfrecord")
    featurize(case.request(case.copy(case.unbroken)))
    folder = case.copy(tmp_path / "set")
    holder = stopped(start, case, folder, COMMIT, "write_file")
    waiting = start(case, folder)
    assert not waiting.ends_within(_BLOCKED_SECONDS), holder.place
    holder.kill()
    assert waiting.end()["error"] is None
    is_brought_up(case, folder)


def at_once(start, case: Case, folder: Path, part: str, which: int | str) -> str:
    """Stops a run at an instant, lets another and a prune begin, and lets it continue; returns what came of them."""
    one = stopped(start, case, folder, part, which)
    place = one.place
    other = start(case, folder)
    pruning = start_command("features.prune", folder, "--min-age", 0)
    if part == WORK:  # in the commit the first may hold the lock that both others wait for
        assert other.ends_within(60)
        pruning.wait(60)
    other.ends_within(_BLOCKED_SECONDS)
    one.go_on()
    errors = [run.end()["error"] for run in (one, other)]
    assert None in errors
    assert all(error is None or error.startswith(ANOTHER) for error in errors), errors
    check_pruning(pruning)
    is_brought_up(case, folder, states=pruning.returncode != 0)
    ended = ["well" if error is None else "second" for error in errors]
    return f"{place}: ended {ended[0]}, the other {ended[1]}, prune {pruning.returncode}"


def check_pruning(process: subprocess.Popen) -> None:
    """Checks that a prune has pruned, or said in one line why it cannot."""
    lines = process.communicate(timeout=60)[1].splitlines()
    errors = [line for line in lines if not line.startswith("waiting for ")]
    refusals = {0: None, 1: f"error: {RUNNING}", 2: "error: (no such|.* is not a complete) feature set"}
    refusal = refusals[process.returncode]
    assert len(errors) == (refusal is not None), errors
    assert refusal is None or re.match(refusal, errors[0])


@pytest.mark.parametrize(("scenario", "function"), [("cold", "check_space"), ("incremental", "gather")])
def test_a_run_whose_like_ends_meanwhile_ends_well_or_says_so(start, tmp_path, scenario, function):
    case = make_case(tmp_path / "case", scenario, "tfrecord")
    featurize(case.request(case.copy(case.unbroken)))
    print(at_once(start, case, case.copy(tmp_path / "set"), WORK, function))


def at_random_instants(
    start, tmp_path: Path, generator: np.random.Generator, storage_format: str, scenario: str, turns: int
) -> list[str]:
    """Draws so many instants in the work and in the commit of a run; returns what came of them."""
    case = make_case(tmp_path / f"{scenario}-{storage_format}", scenario, storage_format)
    noted = start(case, case.copy(case.unbroken)).end()
    lines = []
    for part in (WORK, COMMIT) * turns:
        folder = case.copy(tmp_path / "set")
        number = int(generator.choice(list(noted["first"][part].values())))
        try:
            came = at_once(start, case, folder, part, number)
        except Exception as error:
            raise AssertionError(f"{scenario}, {storage_format}, {part} {number}: {error!r}") from error
        lines.append(f"{scenario:12}{storage_format:9}{came}")
        shutil.rmtree(folder)
    return lines


@pytest.mark.trial
def test_two_runs_and_a_prune_at_two_instants(start, tmp_path):
    print(*at_random_instants(start, tmp_path, np.random.default_rng(1), "parquet", "merge", turns=1), sep="\n")


@pytest.mark.endurance
def test_two_runs_and_a_prune_at_random_instants(start, tmp_path, capsys):
    seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbits(32))
    generator = np.random.default_rng(seed)
    with capsys.disabled():
        print(f"\n{SEED_VARIABLE}={seed}")
        for storage_format in FORMATS:
            for scenario in ("cold", "incremental", "merge"):
                print(*at_random_instants(start, tmp_path, generator, storage_format, scenario, turns=3), sep="\n")


@dataclass
class Round:
    """Two commands into one folder at once, and prunes until both have ended.

    Attributes:
        exit_codes: of the two.
        prunes: how often one has pruned, and how often it was refused.
    """

    exit_codes: list[int]
    prunes: Counter[int]


def run_round(case: Case, folder: Path, workers: tuple[int, int]) -> Round:
    """Runs two commands into one folder, and prunes all the while; checks that no finished shard goes."""
    processes = [start_command("pipelines.featurize", *case.options(folder, number)) for number in workers]
    prunes: Counter[int] = Counter()
    finished: set[str] = set()
    while any(process.poll() is None for process in processes):
        finished |= case.new_shards(folder)
        pruning = start_command("features.prune", folder, "--min-age", 0)
        check_pruning(pruning)
        prunes[pruning.returncode] += 1
    assert finished <= case.new_shards(folder)
    for process in processes:
        errors = [line for line in process.communicate()[1].splitlines() if line.startswith(("error", "Traceback"))]
        assert process.returncode == len(errors) <= 1, errors
        assert all(error.startswith(f"error: {ANOTHER}{folder} while this one ran") for error in errors)
    return Round(sorted(process.returncode for process in processes), prunes)


def outcome(tmp_path: Path, scenario: str, storage_format: str, workers: tuple[int, int]) -> str:
    """Runs a round over a set of its own, which must be that of an unbroken run then; returns what came of it."""
    case = make_case(tmp_path / f"{scenario}-{storage_format}".replace(" ", "-"), scenario, storage_format)
    featurize(case.request(case.copy(case.unbroken)))
    folder = case.copy(tmp_path / "set")
    found = run_round(case, folder, workers)
    assert found.exit_codes in ([0, 1], [0, 0])
    is_brought_up(case, folder, states=False)
    shutil.rmtree(folder)
    return (f"{scenario}, {storage_format}, {workers} workers: exit codes {found.exit_codes}, prunes by exit code "
            f"{dict(found.prunes)}")  # fmt: skip


def test_two_commands_and_prunes_at_once(tmp_path):
    print(outcome(tmp_path, "incremental", "tfrecord", (1, 1)))


@pytest.mark.endurance
def test_two_long_commands_and_prunes_at_once(tmp_path, capsys):
    for scenario in ("slow cold", "slow incremental"):
        for storage_format, workers in zip(FORMATS, ((1, 2), (2, 2)), strict=True):
            came = outcome(tmp_path, scenario, storage_format, workers)
            with capsys.disabled():
                print(f"\n{came}", end="")
