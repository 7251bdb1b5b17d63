"""What a person is told of a delivery and of an event."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.delivery import (
    LIVE,
    STATUS_OF_PHASE,
    DeliveryPhase,
    DeliveryState,
    EventStatus,
    event_status,
    phase_of,
)


def test_every_state_and_number_of_attempts_has_its_phase() -> None:
    expected = {
        DeliveryState.READY: (DeliveryPhase.NEW, DeliveryPhase.RETRYING),
        DeliveryState.BLOCKED: (DeliveryPhase.NEW, DeliveryPhase.RETRYING),
        DeliveryState.LEASED: (DeliveryPhase.SENDING, DeliveryPhase.SENDING),
        DeliveryState.DELIVERED: (DeliveryPhase.DELIVERED, DeliveryPhase.DELIVERED),
        DeliveryState.EXPIRED: (DeliveryPhase.EXPIRED, DeliveryPhase.EXPIRED),
        DeliveryState.CANCELLED: (DeliveryPhase.CANCELLED, DeliveryPhase.CANCELLED),
    }
    assert set(expected) == set(DeliveryState)
    for state, (untried, tried) in expected.items():
        assert (phase_of(state, 0), phase_of(state, 1), phase_of(state, 9)) == (untried, tried, tried)


def test_what_is_live_is_not_final() -> None:
    final = {phase_of(state, 0) for state in set(DeliveryState) - LIVE}
    assert final == {DeliveryPhase.DELIVERED, DeliveryPhase.EXPIRED, DeliveryPhase.CANCELLED}


def test_an_event_without_deliveries_was_received() -> None:
    assert event_status([], replayed=False) is EventStatus.RECEIVED


def test_one_delivery_gives_its_own_status() -> None:
    assert set(STATUS_OF_PHASE) == set(DeliveryPhase)
    for phase, status in STATUS_OF_PHASE.items():
        assert event_status([phase], replayed=False) is status


def test_of_two_deliveries_the_worse_decides() -> None:
    order = list(EventStatus)
    for first, second in itertools.product(DeliveryPhase, repeat=2):
        worse = min(STATUS_OF_PHASE[first], STATUS_OF_PHASE[second], key=order.index)
        assert event_status([first, second], replayed=False) is worse


@given(st.lists(st.sampled_from(DeliveryPhase)))
def test_an_events_status_depends_on_neither_order_nor_number(phases: list[DeliveryPhase]) -> None:
    status = event_status(phases, replayed=False)
    assert status is event_status(reversed(phases), replayed=False)
    assert status is event_status(set(phases), replayed=False)


@given(st.lists(st.sampled_from(DeliveryPhase)))
def test_a_replayed_event_is_replayed_whatever_its_deliveries_came_to(phases: list[DeliveryPhase]) -> None:
    assert event_status(phases, replayed=True) is EventStatus.REPLAYED
