"""What is known of a lease in a store without asking for it each time."""

import contextlib
import threading
from collections.abc import Iterator

import pytest

from features.io.filesystem import Uri
from features.io.object_store import ObjectStore
from features.store import lease_objects
from features.store.lease_objects import add_line, kept_young, look_at
from tests.conftest import wait_until


@pytest.fixture
def lease(s3) -> Iterator[Uri]:
    place = Uri(f"{s3.uri}/work/lease")
    with kept_young(place, b"holder\n"):
        yield place


@pytest.fixture
def held_back(monkeypatch) -> Iterator[threading.Event]:
    """Answers of the store that other threads get come when this is set, as of what was there when they asked."""
    may_come, fetch, here = threading.Event(), ObjectStore.fetch, threading.get_ident()

    def fetch_late(store, path, version=None):
        answer = fetch(store, path, version)
        assert threading.get_ident() == here or may_come.wait(30)
        return answer

    monkeypatch.setattr(ObjectStore, "fetch", fetch_late)
    yield may_come
    may_come.set()


def grow_old(place: Uri, seconds: float) -> None:
    """Has the last look be longer ago."""
    at, found = lease_objects._SEEN[place]
    lease_objects._SEEN[place] = at - seconds, found


def test_a_look_is_renewed_while_who_asks_goes_on(lease, held_back):
    grow_old(lease, 1.5)
    assert look_at(lease)[0] == b"holder\n"
    assert look_at(lease)[0] == b"holder\n"
    at = lease_objects._SEEN[lease][0]
    held_back.set()
    wait_until(lambda: lease_objects._SEEN[lease][0] > at + 1 and lease not in lease_objects._LOOKING)
    assert look_at(lease)[0] == b"holder\n"


def test_an_answer_that_comes_late_hides_no_report(lease, held_back):
    grow_old(lease, 1.5)
    look_at(lease)
    add_line(lease, b"failed\n")
    held_back.set()
    wait_until(lambda: lease not in lease_objects._LOOKING)
    assert look_at(lease)[0] == b"holder\nfailed\n"


def test_an_answer_that_comes_late_brings_no_lease_back(s3, held_back):
    place = Uri(f"{s3.uri}/work/lease")
    with contextlib.ExitStack() as held:
        held.enter_context(kept_young(place, b"holder\n"))
        grow_old(place, 1.5)
        look_at(place)
    held_back.set()
    wait_until(lambda: place not in lease_objects._LOOKING)
    assert look_at(place) is None
