"""When to try again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.retry import NATIVE, PRESETS, PROMPTJANG, RetryPolicy, nativeframe

JITTER = st.integers(0, 999_999).map(lambda number: number / 1_000_000)


def test_the_published_schedules() -> None:
    assert NATIVE.schedule_s == (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0)
    waits = [PROMPTJANG.delay_s(made, jitter=0.9) for made in range(1, 7)]
    assert waits == [30, 60, 120, 240, 480, None]
    assert [nativeframe(3).delay_s(made, jitter=0.1) for made in range(1, 4)] == [5, 10, None]
    assert nativeframe(10).schedule_s == (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0)
    assert nativeframe(1).schedule_s == ()
    assert set(PRESETS) == {"default", "promptjang", "nativeframe"}


@pytest.mark.parametrize(
    ("policy", "longest_s"), [(PROMPTJANG, 480.0), (nativeframe(3), 300.0), (nativeframe(20), 300.0)]
)
def test_no_receiver_makes_a_published_schedule_longer_than_its_longest_wait(
    policy: RetryPolicy, longest_s: float
) -> None:
    for made in range(1, len(policy.schedule_s) + 1):
        waits = [policy.delay_s(made, jitter=0.5, retry_after_s=asked_s) for asked_s in (longest_s, 86_400.0)]
        assert waits == [longest_s, longest_s]


@given(st.integers(1, 7), JITTER)
def test_a_wait_is_spread_around_its_step(made: int, jitter: float) -> None:
    wait_s = NATIVE.delay_s(made, jitter=jitter)
    assert wait_s is not None
    step_s = NATIVE.schedule_s[made - 1]
    assert 0.8 * step_s <= wait_s <= 1.2 * step_s


def test_the_spread_is_even() -> None:
    assert [NATIVE.delay_s(2, jitter=jitter) for jitter in (0.0, 0.5)] == [240, 300]
    assert NATIVE.delay_s(2, jitter=0.75) == pytest.approx(330)


@given(st.integers(8, 10**6), JITTER)
def test_after_the_last_step_it_is_given_up(made: int, jitter: float) -> None:
    assert NATIVE.delay_s(made, jitter=jitter, retry_after_s=1.0) is None


@given(st.integers(1, 7), JITTER, st.floats(min_value=0, max_value=1e12))
def test_what_the_receiver_asks_for_is_a_lower_bound_up_to_the_longest_wait(
    made: int, jitter: float, asked_s: float
) -> None:
    wait_s = NATIVE.delay_s(made, jitter=jitter, retry_after_s=asked_s)
    plain_s = NATIVE.delay_s(made, jitter=jitter)
    assert wait_s is not None
    assert plain_s is not None
    assert wait_s == min(max(plain_s, asked_s), NATIVE.delay_max_s)


def test_no_wait_is_longer_than_the_longest_and_those_cut_to_it_are_spread_below() -> None:
    policy = RetryPolicy((100.0,), jitter=0.5, delay_max_s=60.0)
    assert [policy.delay_s(1, jitter=each) for each in (0.0, 0.5, 0.8)] == [50.0, 45.0, 36.0]
    assert policy.delay_s(1, jitter=0.5, retry_after_s=1e9) == 60.0


def test_before_the_first_attempt_there_is_no_retry() -> None:
    with pytest.raises(AssertionError):
        NATIVE.delay_s(0, jitter=0.0)
