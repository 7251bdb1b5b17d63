"""The rules of consumer transactions."""

from __future__ import annotations

import msgspec
import pytest

from tocsin.core.identifiers import EventId, OrganisationId
from tocsin.core.transaction import (
    ENDED,
    HISTORY_NEWEST_KEPT,
    StateChange,
    Transaction,
    TransactionRefusal,
    TransactionState,
    begin,
    end,
    move,
)

PROCESSING, FINISHED, FAILED = TransactionState.PROCESSING, TransactionState.FINISHED, TransactionState.FAILED
FIRST = StateChange(None, "processing", 10, "a")
GOING = Transaction(
    event_id=EventId(b"e" * 16),
    organisation_id=OrganisationId(b"o" * 16),
    tx_key="k",
    event_type="t",
    state=PROCESSING,
    started_ms=10,
    history=(FIRST,),
)
LEASED = msgspec.structs.replace(GOING, lease_until_ms=100)
SECOND = StateChange(None, "processing", 100, "b")
WANTED = msgspec.structs.replace(GOING, started_ms=100, lease_until_ms=200, history=(SECOND,))


def _ended(state: TransactionState, output: str | None = "out") -> Transaction:
    found = end(LEASED, state, output, now_ms=50, by="a")
    assert isinstance(found, Transaction)
    return found


def test_what_is_not_there_begins() -> None:
    assert begin(None, WANTED, now_ms=100) is WANTED


def test_what_is_there_refuses_a_second() -> None:
    for found in (GOING, LEASED, _ended(FINISHED), _ended(FAILED)):
        assert begin(found, WANTED, now_ms=99) is TransactionRefusal.EXISTS


def test_a_lease_that_ran_out_is_taken_over_with_its_history() -> None:
    assert begin(LEASED, WANTED, now_ms=100) == msgspec.structs.replace(WANTED, history=(FIRST, SECOND))


def test_without_a_lease_and_after_the_end_nothing_is_taken_over() -> None:
    for found in (GOING, _ended(FINISHED), _ended(FAILED)):
        assert begin(found, WANTED, now_ms=10**15) is TransactionRefusal.EXISTS


@pytest.mark.parametrize("state", sorted(ENDED))
def test_an_end_is_kept_with_its_output_and_frees_the_lease(state: TransactionState) -> None:
    ended = _ended(state)
    assert (ended.state, ended.ended_ms, ended.output, ended.lease_until_ms) == (state, 50, "out", None)
    assert ended.history == (FIRST, StateChange("processing", state.value, 50, "a"))


@pytest.mark.parametrize("state", sorted(ENDED))
def test_the_same_end_told_again_changes_nothing_and_another_is_refused(state: TransactionState) -> None:
    ended = _ended(state)
    assert end(ended, state, "out", now_ms=99, by="b") is ended
    other = FAILED if state is FINISHED else FINISHED
    for told, output in [(state, "else"), (state, None), (other, "out")]:
        assert end(ended, told, output, now_ms=99, by="b") is TransactionRefusal.ENDED


def test_what_never_began_neither_ends_nor_moves() -> None:
    assert end(None, FINISHED, None, now_ms=1, by="a") is TransactionRefusal.NOT_FOUND
    assert move(None, FINISHED, now_ms=1, by="a") is TransactionRefusal.NOT_FOUND


def test_a_move_to_where_it_is_changes_nothing() -> None:
    for found in (GOING, _ended(FINISHED), _ended(FAILED)):
        assert move(found, found.state, now_ms=99, by="b") is found


def test_a_move_opens_what_had_ended_and_keeps_its_output() -> None:
    moved = move(_ended(FAILED), PROCESSING, now_ms=99, by="b")
    assert isinstance(moved, Transaction)
    assert (moved.state, moved.ended_ms, moved.output, moved.lease_until_ms) == (PROCESSING, None, "out", None)
    assert moved.history[-1] == StateChange("failed", "processing", 99, "b")


def test_a_move_from_one_end_to_another_ends_anew() -> None:
    moved = move(_ended(FINISHED), FAILED, now_ms=99, by="b")
    assert isinstance(moved, Transaction)
    assert (moved.state, moved.ended_ms) == (FAILED, 99)


def test_a_move_to_processing_is_leased_anew() -> None:
    reopened = move(_ended(FAILED), PROCESSING, now_ms=99, by="b", lease_until_ms=199)
    assert isinstance(reopened, Transaction)
    assert reopened.lease_until_ms == 199
    prolonged = move(reopened, PROCESSING, now_ms=150, by="b", lease_until_ms=250)
    assert prolonged == msgspec.structs.replace(reopened, lease_until_ms=250)


def test_a_move_without_a_lease_leaves_the_one_there_is() -> None:
    assert move(LEASED, PROCESSING, now_ms=50, by="b") is LEASED


def test_what_has_ended_has_no_lease() -> None:
    for found in (LEASED, _ended(FAILED)):
        moved = move(found, FINISHED, now_ms=50, by="b", lease_until_ms=150)
        assert isinstance(moved, Transaction)
        assert moved.lease_until_ms is None


def test_a_long_history_keeps_its_first_step_and_the_newest_and_counts_all() -> None:
    found = LEASED
    for now_ms in range(100, 100 + 2 * HISTORY_NEWEST_KEPT):
        if now_ms % 3:
            moved = move(found, FAILED if found.state is FINISHED else FINISHED, now_ms=now_ms, by="a")
        else:
            lapsed = msgspec.structs.replace(found, state=PROCESSING, lease_until_ms=now_ms)
            step = StateChange(None, "processing", now_ms, "b")
            moved = begin(lapsed, msgspec.structs.replace(WANTED, history=(step,)), now_ms=now_ms)
        assert isinstance(moved, Transaction)
        assert moved.steps_made == found.steps_made + 1
        found = moved
    assert len(found.history) == 1 + HISTORY_NEWEST_KEPT
    assert found.history[0] == FIRST
    assert [each.at_ms for each in found.history[1:]] == list(
        range(100 + HISTORY_NEWEST_KEPT, 100 + 2 * HISTORY_NEWEST_KEPT)
    )
