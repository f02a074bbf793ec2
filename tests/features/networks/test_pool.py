import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from features.networks.pool import RunnerPool


class Counted:
    """Makes objects, and knows how many at a time."""

    def __init__(self):
        self.made = []
        self.making = 0

    def __call__(self) -> list[int]:
        self.making += 1
        assert self.making == 1, "one thread at a time makes"
        self.made.append([len(self.made)])
        self.making -= 1
        return self.made[-1]


def test_one_is_used_again_and_none_is_made_before_it_is_asked_for():
    make = Counted()
    pool = RunnerPool(make)
    assert not make.made
    for _ in range(3):
        with pool.taken() as taken:
            assert taken == [0]
    assert len(make.made) == 1


def test_there_are_as_many_as_threads_have_ever_used_at_a_time():
    make = Counted()
    pool = RunnerPool(make)
    together = threading.Barrier(4)

    def use(_: int) -> int:
        with pool.taken() as [number]:
            together.wait(20)
        return number

    with ThreadPoolExecutor(4) as threads:
        for _ in range(3):
            assert sorted(threads.map(use, range(4))) == [0, 1, 2, 3]
    assert len(make.made) == 4


def test_one_that_failed_is_not_used_again():
    pool = RunnerPool(Counted())
    with pytest.raises(ValueError), pool.taken():
        raise ValueError
    with pool.taken() as taken:
        assert taken == [1]


def test_one_that_cannot_be_made_leaves_the_pool_as_it_was():
    answers = iter([ValueError, "made"])

    def make():
        if (answer := next(answers)) is ValueError:
            raise ValueError
        return answer

    pool = RunnerPool(make)
    with pytest.raises(ValueError), pool.taken():
        pass
    with pool.taken() as taken:
        assert taken == "made"


def test_a_process_that_was_forked_makes_its_own():
    make = Counted()
    pool = RunnerPool(make)
    with pool.taken():
        pass
    context = multiprocessing.get_context("fork")
    found = context.Queue()

    def child() -> None:
        with pool.taken() as [number]:
            found.put(number)

    process = context.Process(target=child)
    process.start()
    assert found.get(timeout=60) == 1
    process.join()
    with pool.taken() as taken:
        assert taken == [0]
