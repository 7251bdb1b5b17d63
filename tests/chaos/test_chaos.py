"""Two gateways and two dispatchers on one PostgreSQL, under load, while all of it is killed, stopped and cut off.

``TEST_CHAOS_SEED`` lets another seed decide what strikes whom and when. ``python -m bench chaos`` goes on for longer.
"""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chaos import judging
from chaos.adversary import Fault
from chaos.evidence import Attempt, Evidence
from chaos.playing import Plan, play
from engine.postgres_server import PostgresServer, running_server

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

SEED = int(os.environ.get("TEST_CHAOS_SEED", "1"))
ARRIVALS_BETWEEN = 200
"""Deliveries from one fault to the next."""
ARRIVALS_MIN = 5000
"""A dispatcher is killed once in so many deliveries, about twice a minute here."""


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[PostgresServer]:
    """A server that waits for the disk, and whoever does not want to wait has much room in its memory."""
    with running_server(wal_buffers="32MB") as server:
        yield server


@pytest.fixture(name="evidence", scope="module")
def _evidence(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """What is known after every kind of fault has struck once, in an order by the seed."""
    print(f"TEST_CHAOS_SEED={SEED}")
    faults = list(Fault)
    random.Random(SEED).shuffle(faults)
    evidence = play(Plan(SEED, faults, ARRIVALS_BETWEEN, ARRIVALS_MIN), server, tmp_path_factory.mktemp("chaos"))
    kinds = (judging.copies(evidence), judging.forced_copies(evidence))
    print(len(evidence.arrivals), "arrivals, copies, and those of pauses:", *(sum(each.values()) for each in kinds))
    return evidence


def test_every_kind_of_fault_has_struck(evidence: Evidence) -> None:
    assert set(evidence.faults) == set(Fault)
    assert len(evidence.arrivals) > ARRIVALS_MIN
    assert max(posting.tries for posting in evidence.postings) > 1
    assert evidence.pauses


def test_nothing_that_was_acknowledged_is_lost_or_stored_twice(evidence: Evidence) -> None:
    assert judging.lost(evidence) == []
    assert judging.strangers(evidence) == []


def test_what_is_posted_again_with_its_key_has_its_id(evidence: Evidence) -> None:
    assert sum(posting.tries > 1 and bool(posting.ids) for posting in evidence.postings) > 100
    assert judging.identities(evidence) == []


def test_lanes_are_in_order(evidence: Evidence) -> None:
    assert judging.disorder(evidence) == []


def test_kills_double_one_delivery_in_a_hundred_at_the_most(evidence: Evidence) -> None:
    assert judging.too_many_copies(evidence) == []


def test_what_a_dispatcher_settles_whose_lease_is_over_is_refused(evidence: Evidence) -> None:
    assert any(each.is_late for event in evidence.stored for each in event.deliveries)
    assert judging.stale_settles(evidence) == []


def test_clients_are_told_503_with_retry_after_and_nothing_worse(evidence: Evidence) -> None:
    assert judging.refusals(evidence) == []


# -- judges that could not find anything would find nothing ------------------------------------------------


def _lose_an_arrival(false: Evidence) -> None:
    gone = next(each for each in false.arrivals if each.answered is not None)
    false.arrivals = [each for each in false.arrivals if (each.name, each.path) != (gone.name, gone.path)]


def _store_twice(false: Evidence) -> None:
    false.stored.append(replace(false.stored[0], event_id="another"))


def _lose_an_event(false: Evidence) -> None:
    del false.stored[0]


def _leave_one_undelivered(false: Evidence) -> None:
    event = false.stored[0]
    first, *others = event.deliveries
    false.stored[0] = replace(event, deliveries=(replace(first, state=4), *others))


def _acknowledge_nothing(false: Evidence) -> None:
    false.postings[0].is_acknowledged = False


def _store_what_nobody_posted(false: Evidence) -> None:
    false.stored.append(replace(false.stored[0], name="nobody's"))


def _send_under_another_id(false: Evidence) -> None:
    false.arrivals[0].event_id = false.arrivals[-1].event_id


def _tell_another_id(false: Evidence) -> None:
    next(each for each in false.postings if each.ids).ids.add("another")


def _swap_two_of_a_lane(false: Evidence) -> None:
    later = next(each for each in false.postings if each.lane is not None and each.place == 1)
    earlier = next(each for each in false.postings if each.lane == later.lane and each.place == 0)
    for each in false.arrivals:
        each.name = {later.name: earlier.name, earlier.name: later.name}.get(each.name, each.name)


def _send_before_the_answer(false: Evidence) -> None:
    later = next(each for each in false.postings if each.lane is not None and each.place == 1)
    earlier = next(each for each in false.postings if each.lane == later.lane and each.place == 0)
    began = next(each.began for each in false.arrivals if (each.name, each.path) == (later.name, judging.ORDERED))
    for each in false.arrivals:
        if (each.name, each.path) == (earlier.name, judging.ORDERED) and each.answered is not None:
            each.answered = began + 1


def _send_some_again(false: Evidence) -> None:
    share = len(false.arrivals) // 50
    false.arrivals += [replace(each, began=10**9) for each in false.arrivals[:share]]


def _send_again_without_end(false: Evidence) -> None:
    """Let what was under way come more often than anything could be in flight."""
    (pause,) = false.pauses
    again = next(each for each in false.arrivals if (each.event_id, each.path) in pause.under_way)
    false.arrivals += [replace(again, answered=-1), *[replace(again, began=10**9, answered=10**9)] * 1000]


def _settle_late(false: Evidence) -> None:
    """Let each late attempt count, as if no number fenced it off."""
    for at, event in enumerate(false.stored):
        counted = tuple(
            replace(each, attempts=tuple(replace(tried, number=tried.number or 1) for tried in each.attempts))
            for each in event.deliveries
        )
        false.stored[at] = replace(event, deliveries=counted)


def _record_twice(false: Evidence) -> None:
    event = false.stored[0]
    first, *others = event.deliveries
    again = replace(first, attempts=(*first.attempts, Attempt(0, True), Attempt(0, True)))
    false.stored[0] = replace(event, deliveries=(again, *others))


def _refuse(false: Evidence) -> None:
    false.refusals.append("was told 500")


def _end_badly(false: Evidence) -> None:
    false.statuses[0] = 1


@pytest.mark.parametrize(
    ("falsify", "judge"),
    [
        (_lose_an_arrival, judging.lost),
        (_store_twice, judging.lost),
        (_lose_an_event, judging.lost),
        (_leave_one_undelivered, judging.lost),
        (_acknowledge_nothing, judging.lost),
        (_store_what_nobody_posted, judging.strangers),
        (_send_under_another_id, judging.strangers),
        (_tell_another_id, judging.identities),
        (_swap_two_of_a_lane, judging.disorder),
        (_send_before_the_answer, judging.disorder),
        (_send_some_again, judging.too_many_copies),
        (_send_again_without_end, judging.too_many_copies),
        (_settle_late, judging.stale_settles),
        (_record_twice, judging.stale_settles),
        (_refuse, judging.refusals),
        (_end_badly, judging.refusals),
    ],
)
def test_false_evidence_is_found_out(
    evidence: Evidence, falsify: Callable[[Evidence], None], judge: Callable[[Evidence], list[str]]
) -> None:
    false: Evidence = pickle.loads(pickle.dumps(evidence))
    falsify(false)
    assert judge(false) != []
    assert judge(evidence) == []


def test_gateways_that_acknowledge_before_the_commit_is_on_the_disk_are_found_out(
    server: PostgresServer, tmp_path: Path
) -> None:
    plan = Plan(SEED, [Fault.SERVER_KILLED], 150, clients=("buildable",) * 8, is_durable=False, repeats=0)
    assert judging.lost(play(plan, server, tmp_path)) != []
