"""The tables of core/lifecycle.py say what the rules do, for every state and every trigger.

What a delivery does is the engine's doing: its grid is part of the engine's contract.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec
import pytest

from tocsin.core.delivery import DeliveryState
from tocsin.core.identifiers import EventId, OrganisationId
from tocsin.core.incident import Incident, IncidentAction, IncidentChange, IncidentRefusal, IncidentState, advance
from tocsin.core.job import Job, JobId, JobKind, JobRefusal, JobState, cancel, count, fail, finish, take
from tocsin.core.job import begin as begin_job
from tocsin.core.lifecycle import DELIVERY, INCIDENT, JOB, MACHINES, TRANSACTION
from tocsin.core.transaction import (
    StateChange,
    Transaction,
    TransactionRefusal,
    TransactionState,
    begin,
    end,
    move,
)

ID, NEXT, OURS = EventId(b"i" * 16), EventId(b"n" * 16), OrganisationId(b"o" * 16)
CLOSED_MS = 100

INCIDENT_TRIGGERS: dict[str, tuple[IncidentAction, int]] = {
    "create": (IncidentAction.CREATE, CLOSED_MS),
    "update": (IncidentAction.UPDATE, CLOSED_MS),
    "late update": (IncidentAction.UPDATE, CLOSED_MS - 1),
    "close": (IncidentAction.CLOSE, CLOSED_MS),
}


def _incident(state: IncidentState | None) -> Incident | None:
    if state is None:
        return None
    return Incident(
        id=ID,
        organisation_id=OURS,
        channel="c",
        state=state,
        opened_ms=0,
        updated_ms=0,
        closed_ms=CLOSED_MS if state is IncidentState.CLOSED else None,
    )


@pytest.mark.parametrize(
    ("state", "trigger"), list(itertools.product([None, *IncidentState], INCIDENT_TRIGGERS)), ids=str
)
def test_incidents(state: IncidentState | None, trigger: str) -> None:
    action, at_ms = INCIDENT_TRIGGERS[trigger]
    change = IncidentChange(action=action, channel="c", at_ms=at_ms, incident_id=ID)
    after = advance(_incident(state), change, NEXT, OURS)
    if trigger == "late update" and state is IncidentState.ONGOING:
        trigger = "update"  # before the close no update is late
    if trigger == "create":
        state = None  # whatever there is, a create makes another one: its event's own
        assert isinstance(after, Incident)
        assert after.id == NEXT
    expected = INCIDENT.get((state, trigger))
    if expected is None:
        assert isinstance(after, IncidentRefusal)
    else:
        assert isinstance(after, Incident)
        assert after.state is expected


def _transaction(state: TransactionState | None, lease_until_ms: int | None) -> Transaction | None:
    if state is None:
        return None
    return Transaction(
        event_id=ID,
        organisation_id=OURS,
        tx_key="k",
        event_type="t",
        state=state,
        started_ms=0,
        lease_until_ms=lease_until_ms,
        output="before",
    )


_WANTED = Transaction(
    event_id=ID,
    organisation_id=OURS,
    tx_key="k",
    event_type="t",
    state=TransactionState.PROCESSING,
    started_ms=50,
    history=(StateChange(None, "processing", 50, "b"),),
)
_Step = Callable[[Transaction | None], Transaction | TransactionRefusal]


def _ending(state: TransactionState) -> _Step:
    return lambda found: end(found, state, "another", now_ms=50, by="b")


def _moving(state: TransactionState) -> _Step:
    return lambda found: move(found, state, now_ms=50, by="b")


TRANSACTION_TRIGGERS: dict[str, _Step] = {
    "init": lambda found: begin(found, _WANTED, now_ms=50),
    "lease ran out, init": lambda found: begin(found, _WANTED, now_ms=100),
    "transact finished": _ending(TransactionState.FINISHED),
    "transact failed": _ending(TransactionState.FAILED),
    "update processing": _moving(TransactionState.PROCESSING),
    "update finished": _moving(TransactionState.FINISHED),
    "update failed": _moving(TransactionState.FAILED),
}
STATES = [None, TransactionState.PROCESSING, TransactionState.FINISHED, TransactionState.FAILED]


@pytest.mark.parametrize(("state", "trigger"), list(itertools.product(STATES, TRANSACTION_TRIGGERS)), ids=str)
def test_transactions(state: TransactionState | None, trigger: str) -> None:
    lease_until_ms = 100 if state is TransactionState.PROCESSING else None
    before = _transaction(state, lease_until_ms)
    after = TRANSACTION_TRIGGERS[trigger](before)
    if state is None and trigger == "lease ran out, init":
        trigger = "init"  # where there is nothing there is no lease
    expected = TRANSACTION.get((state, trigger))
    if expected is not None:
        assert isinstance(after, Transaction)
        assert after.state is expected
        assert after.history
    else:
        assert isinstance(after, TransactionRefusal) or after is before


JOB_TRIGGERS: dict[str, Callable[[Job], Job | JobRefusal]] = {
    "begin": lambda job: begin_job(job, now_ms=50),
    "take a batch": lambda job: take(job, b"i" * 16, b"c"),
    "count a batch": lambda job: count(job, done=1, failed=0, now_ms=50),
    "finish": lambda job: finish(job, now_ms=50),
    "fail": lambda job: fail(job, "why", done=0, failed=0, now_ms=50),
    "cancel": lambda job: cancel(job, now_ms=50),
}


@pytest.mark.parametrize(("state", "trigger"), list(itertools.product(JobState, JOB_TRIGGERS)), ids=str)
def test_jobs(state: JobState, trigger: str) -> None:
    job = Job(
        id=JobId(ID),
        organisation_id=OURS,
        kind=JobKind.REPLAY,
        created_ms=0,
        state=state,
        exhausted=True,
        done=1,
        # One that was cancelled in the middle of a batch has this batch before it.
        ended_ms=40 if state in (JobState.FINISHED, JobState.FAILED) else None,
    )
    after = JOB_TRIGGERS[trigger](job)
    expected = JOB.get((state, trigger))
    if expected is None:
        assert after is JobRefusal.OVER
    else:
        assert isinstance(after, Job)
        assert after.state is expected
        assert (after.ended_ms == 50) == (expected is not JobState.RUNNING)


def test_every_trigger_of_the_tables_is_tried() -> None:
    assert {trigger for _, trigger in JOB} == set(JOB_TRIGGERS) | {"asked for"}
    assert {trigger for _, trigger in INCIDENT} == set(INCIDENT_TRIGGERS)
    assert {trigger for _, trigger in TRANSACTION} == set(TRANSACTION_TRIGGERS)


def test_every_state_but_buildables_pending_is_reached() -> None:
    """A transaction begins in ``processing``; ``pending`` is only a word that Buildable's queries may name."""
    assert MACHINES == {"delivery": DELIVERY, "incident": INCIDENT, "transaction": TRANSACTION, "job": JOB}
    assert set(JOB.values()) == set(JobState)
    assert set(DELIVERY.values()) == set(DeliveryState)
    assert set(INCIDENT.values()) == set(IncidentState)
    assert set(TRANSACTION.values()) == set(TransactionState) - {TransactionState.PENDING}


def test_no_rule_leaves_a_transaction_as_it_was_and_says_that_it_moved() -> None:
    going = _transaction(TransactionState.PROCESSING, None)
    assert going is not None
    moved = move(going, TransactionState.FINISHED, now_ms=50, by="b")
    assert isinstance(moved, Transaction)
    assert msgspec.structs.replace(moved, state=going.state, ended_ms=None, history=()) == going
