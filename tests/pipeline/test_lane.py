"""A destination's lane: its breaker, its rate, its room."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from leases import made_lease
from tocsin.core.destination import Destination, Transport
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DeliveryId, DestinationId, EventId
from tocsin.pipeline.lane import Lane, LaneLimits

LIMITS = LaneLimits(held_max=8, breaker_failures=3, breaker_wait_s=5.0, breaker_wait_max_s=60.0)

PLAIN = Destination(
    id=DestinationId(bytes(16)),
    organisation_id=DEFAULT_ORGANISATION,
    name="a",
    transport=Transport.WEBHOOK,
    created_ms=0,
    updated_ms=0,
    concurrency=4,
)
LEASE = made_lease(destination_id=PLAIN.id)


def rated(rate_per_s: float | None) -> Destination:
    return msgspec.structs.replace(PLAIN, rate_per_s=rate_per_s)


def opened(now_s: float = 0.0) -> Lane:
    """Return a lane whose breaker has just opened."""
    lane = Lane(LIMITS)
    assert [lane.failed(now_s) for _ in range(3)] == [False, False, True]
    return lane


# -- breaker -----------------------------------------------------------------------------------------------


def test_the_breaker_opens_after_a_row_of_failures_and_not_before() -> None:
    lane = Lane(LIMITS)
    lane.failed(0.0)
    lane.failed(0.0)
    assert lane.may_send(PLAIN, 0.0)
    lane.failed(0.0)
    assert not lane.may_send(PLAIN, 0.0)
    assert not lane.has_room(0.0)


def test_a_success_in_between_starts_the_row_anew() -> None:
    lane = Lane(LIMITS)
    for _ in range(10):
        assert not lane.failed(0.0)
        assert not lane.failed(0.0)
        lane.succeeded()
    assert lane.may_send(PLAIN, 0.0)


def test_after_the_wait_one_attempt_at_a_time_is_let_through() -> None:
    lane = opened()
    assert not lane.may_send(PLAIN, 4.999)
    assert lane.may_send(PLAIN, 5.0)
    assert lane.has_room(5.0)
    lane.sending = 1
    assert not lane.may_send(PLAIN, 5.0)
    assert not lane.has_room(5.0)


def test_each_failed_trial_doubles_the_wait_up_to_its_bound() -> None:
    lane, now_s = opened(), 0.0
    waits: list[float] = []
    for _ in range(40):
        waits.append(lane.open_until_s - now_s)
        now_s = lane.open_until_s
        assert lane.may_send(PLAIN, now_s)
        assert lane.failed(now_s)
    assert waits == [5.0, 10.0, 20.0, 40.0] + [60.0] * 36


def test_failures_of_attempts_that_were_under_way_when_it_opened_do_not_prolong_the_wait() -> None:
    lane = opened()
    assert not lane.failed(1.0)
    assert lane.open_until_s == 5.0


def test_one_success_closes_the_breaker_and_forgets_how_long_it_waited() -> None:
    lane = opened()
    lane.failed(5.0)
    lane.succeeded()
    assert lane.may_send(PLAIN, 5.0)
    assert not lane.on_trial
    assert [lane.failed(6.0) for _ in range(3)] == [False, False, True]
    assert lane.open_until_s == 11.0


# -- room --------------------------------------------------------------------------------------------------


def test_reserved_waiting_and_sent_deliveries_all_take_room() -> None:
    lane = Lane(LIMITS)
    lane.reserved, lane.sending = 3, 2
    lane.queue.extend([LEASE] * 2)
    assert lane.held == 7
    assert lane.has_room(0.0)
    lane.reserved += 1
    assert not lane.has_room(0.0)


def test_no_more_attempts_are_under_way_than_the_destination_takes() -> None:
    lane = Lane(LIMITS)
    lane.sending = 3
    assert lane.may_send(PLAIN, 0.0)
    lane.sending = 4
    assert not lane.may_send(PLAIN, 0.0)


# -- rate --------------------------------------------------------------------------------------------------


def starts(lane: Lane, destination: Destination, *, until_s: float, now_s: float = 1000.0) -> list[float]:
    """Return when attempts start that always wait for as long as they are told."""
    found: list[float] = []
    end_s = now_s + until_s
    while now_s < end_s:
        wait_s = lane.token_wait_s(destination, now_s)
        if wait_s > 0:
            now_s += wait_s
        else:
            found.append(now_s)
    return found


def most_within(times: list[float], window_s: float) -> int:
    """Return the highest number of times in any half-open window of this length."""
    return max((sum(start <= each < start + window_s - 1e-6 for each in times) for start in times), default=0)


def test_without_a_rate_nothing_waits() -> None:
    assert Lane(LIMITS).token_wait_s(PLAIN, 0.0) == 0.0


@pytest.mark.parametrize(("rate_per_s", "seconds"), [(0.1, 100.0), (1.0, 20.0), (2.5, 20.0), (10.0, 5.0)])
def test_in_no_second_are_there_more_attempts_than_the_rate_allows(rate_per_s: float, seconds: float) -> None:
    lane = Lane(LIMITS)
    first = starts(lane, rated(rate_per_s), until_s=seconds)
    # An idle time earns no burst.
    second = starts(lane, rated(rate_per_s), until_s=seconds, now_s=1000.0 + 50 * seconds)
    for times in (first, second):
        assert len(times) == pytest.approx(rate_per_s * seconds, abs=1.01)
        assert most_within(times, max(1.0, 1 / rate_per_s)) <= max(1, -(-rate_per_s // 1))


def test_at_a_high_rate_timers_that_come_late_cost_no_throughput() -> None:
    lane, destination, now_s = Lane(LIMITS), rated(1000.0), 0.0
    times: list[float] = []
    while now_s < 10.0:
        wait_s = lane.token_wait_s(destination, now_s)
        if wait_s > 0:
            now_s += wait_s + 0.003
        else:
            times.append(now_s)
    assert len(times) == pytest.approx(10_000, rel=0.01)
    assert most_within(times[:3000], 1.0) <= 1000 * 1.05 + 1


def test_a_rate_that_was_raised_or_lifted_counts_at_once() -> None:
    lane = Lane(LIMITS)
    slow, fast = rated(0.001), rated(10.0)
    assert lane.token_wait_s(slow, 0.0) == 0.0
    assert lane.token_wait_s(slow, 1.0) == pytest.approx(999.0)
    assert lane.token_wait_s(fast, 1.0) == pytest.approx(0.1)
    assert lane.token_wait_s(fast, 1.1) == 0.0
    assert lane.token_wait_s(rated(None), 1.1) == 0.0


@given(
    rate_per_s=st.floats(min_value=0.01, max_value=5000.0),
    steps=st.lists(st.floats(min_value=0.0, max_value=3.0), min_size=1, max_size=60),
)
def test_whenever_it_is_asked_the_rate_holds(rate_per_s: float, steps: list[float]) -> None:
    lane, destination, now_s = Lane(LIMITS), rated(rate_per_s), 0.0
    times: list[float] = []
    for step in steps:
        now_s += step
        for _ in range(20):
            if lane.token_wait_s(destination, now_s) > 0:
                break
            times.append(now_s)
    span_s = times[-1] - times[0]
    assert len(times) <= rate_per_s * (span_s + 0.05) + 1.001


# -- all of it, in any order -------------------------------------------------------------------------------


@settings(max_examples=60, stateful_step_count=40)
class AnyLane(RuleBasedStateMachine):
    """A lane under any sequence of reserving, sending, failing, succeeding and waiting, as a dispatcher does it."""

    def __init__(self) -> None:
        super().__init__()
        self.lane = Lane(LIMITS)
        self.now_s = 100.0
        self.row = 0
        self.waits: list[float] = []

    @rule(seconds=st.sampled_from([0.0, 0.5, 5.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @precondition(lambda self: self.lane.has_room(self.now_s))
    @rule()
    def one_is_taken(self) -> None:
        self.lane.queue.append(LEASE)

    @precondition(lambda self: self.lane.queue and self.lane.may_send(PLAIN, self.now_s))
    @rule()
    def one_is_sent(self) -> None:
        self.lane.queue.popleft()
        self.lane.sending += 1

    @precondition(lambda self: self.lane.sending)
    @rule()
    def one_arrives(self) -> None:
        self.lane.sending -= 1
        self.lane.succeeded()
        self.row = 0
        self.waits.clear()

    @precondition(lambda self: self.lane.sending)
    @rule()
    def one_fails(self) -> None:
        self.lane.sending -= 1
        was_open = self.lane.is_open(self.now_s)
        self.row += 1
        opens = self.lane.failed(self.now_s)
        assert opens == (self.row >= LIMITS.breaker_failures and not was_open)
        if opens:
            self.waits.append(self.lane.open_until_s - self.now_s)
            self.lane.queue.clear()

    @invariant()
    def bounds_hold(self) -> None:
        assert self.lane.sending <= PLAIN.concurrency
        assert self.lane.held <= LIMITS.held_max

    @invariant()
    def the_breaker_stands_as_the_row_of_failures_says(self) -> None:
        assert self.lane.on_trial == (self.row >= LIMITS.breaker_failures)
        if not self.lane.on_trial:
            assert not self.lane.is_open(self.now_s)
        doubled: list[Any] = [pytest.approx(min(5.0 * 2**trial, 60.0)) for trial in range(len(self.waits))]
        assert self.waits == doubled

    @invariant()
    def what_is_not_open_and_holds_nothing_takes_something(self) -> None:
        if not self.lane.is_open(self.now_s) and self.lane.held == 0:
            assert self.lane.has_room(self.now_s)
            assert self.lane.may_send(PLAIN, self.now_s)


TestAnyLane = AnyLane.TestCase


# -- rests that a remote asks for --------------------------------------------------------------------------


def test_a_rest_is_kept_to_the_end_and_the_longer_one_counts() -> None:
    lane = Lane(LIMITS)
    lane.rest(10.0, 1.5)
    lane.rest(10.0, 0.5)
    assert lane.token_wait_s(PLAIN, 10.0) == 1.5
    assert lane.token_wait_s(PLAIN, 11.25) == 0.25
    assert lane.token_wait_s(PLAIN, 11.5) == 0.0


def test_a_rest_comes_before_the_rate() -> None:
    lane = Lane(LIMITS)
    slow = msgspec.structs.replace(PLAIN, rate_per_s=1.0)
    assert lane.token_wait_s(slow, 0.0) == 0.0
    lane.rest(0.0, 3.0)
    assert lane.token_wait_s(slow, 0.0) == 3.0
    assert lane.token_wait_s(slow, 3.0) == 0.0


def test_what_a_rest_put_off_is_waited_for_within_bounds() -> None:
    lane = Lane(LIMITS)
    lane.rest(0.0, 1.0)
    lane.expect(LEASE.delivery_id, 0.0, 1.0)
    assert lane.token_wait_s(PLAIN, 0.5) == 0.5
    assert lane.token_wait_s(PLAIN, 1.0) > 0
    other = msgspec.structs.replace(LEASE, delivery_id=DeliveryId(b"o" * 16))
    lane.came(other)
    assert lane.token_wait_s(PLAIN, 1.0) > 0
    lane.came(LEASE)
    assert lane.token_wait_s(PLAIN, 1.0) == 0
    assert list(lane.queue) == [other, LEASE]


def test_it_is_not_waited_for_for_ever_nor_where_there_is_no_room_for_it() -> None:
    late, full = Lane(LIMITS), Lane(LIMITS)
    for lane in (late, full):
        lane.expect(LEASE.delivery_id, 0.0, 1.0)
    assert late.token_wait_s(PLAIN, 6.0) == 0
    full.reserved = LIMITS.held_max
    assert full.token_wait_s(PLAIN, 1.0) == 0


def test_only_through_a_short_rest_may_anything_be_held() -> None:
    lane = Lane(LIMITS)
    lane.rest(0.0, LIMITS.rest_held_s)
    assert lane.has_room(0.0)
    lane.rest(0.0, LIMITS.rest_held_s + 0.5)
    assert not lane.has_room(0.0)
    assert lane.has_room(0.5)


def test_what_waits_is_lined_up_by_the_order_of_acceptance() -> None:
    lane = Lane(LIMITS)
    leases = [
        msgspec.structs.replace(LEASE, event=msgspec.structs.replace(LEASE.event, id=EventId(bytes([number] * 16))))
        for number in (3, 1, 2)
    ]
    lane.queue.extend(leases)
    lane.line_up()
    assert [lease.event.id[0] for lease in lane.queue] == [1, 2, 3]
