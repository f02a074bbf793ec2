import pytest

from features.io.file_time import same_time

SECOND_NS = 1_000_000_000
TIME_NS = 1_699_999_999_123_456_789


@pytest.mark.parametrize("step", [100, 1_000, 1_000_000, SECOND_NS])
def test_a_time_that_was_cut_off_is_the_same_and_its_neighbours_are_not(step):
    cut = TIME_NS // step * step
    for one, other in ((TIME_NS, cut), (cut, TIME_NS), (cut, cut + step - 1), (-TIME_NS, -TIME_NS // step * step)):
        assert same_time(one, other)
    for other in (cut - 1, cut - step, cut + step, cut + SECOND_NS):
        assert not same_time(cut, other)
    assert not same_time(cut + 1, cut + step + 1)


def test_two_exact_times_are_two():
    assert same_time(TIME_NS, TIME_NS)
    assert not same_time(TIME_NS, TIME_NS + 1)
    assert not same_time(TIME_NS, TIME_NS - 999_999_999)
    assert not same_time(0, 5 * SECOND_NS)
