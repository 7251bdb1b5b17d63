"""What a chaos run comes to: pure functions from the evidence to what is wrong with it, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from chaos.evidence import DELIVERED, Arrival, Evidence, Posting, StoredDelivery, StoredEvent

ORDERED = "/ordered"
"""Where the receiver is sent what has to come in order."""

Key = tuple[str, str]
"""A delivery: its event's id, and the path that it goes to."""


def lost(evidence: Evidence) -> list[str]:
    """Return what was acknowledged and is not stored once, did not arrive, or is not told as delivered."""
    stored = _stored_by_name(evidence)
    arrived = {(each.name, each.path) for each in evidence.arrivals if each.answered is not None}
    return [fault for posting in evidence.postings for fault in _losses(posting, stored[posting.name], arrived)]


def _losses(posting: Posting, stored: list[StoredEvent], arrived: set[Key]) -> Iterator[str]:
    if not posting.is_acknowledged:
        yield f"{posting.name} was never acknowledged"
    if len(stored) != 1:
        yield f"{posting.name} is stored {len(stored)} times"
        return
    found = {each.path: each.state for each in stored[0].deliveries}
    if set(found) != posting.paths or len(stored[0].deliveries) != len(found):
        yield f"{posting.name} goes to {sorted(found)}, not to {sorted(posting.paths)}"
    for path in sorted(posting.paths):
        if (posting.name, path) not in arrived:
            yield f"{posting.name} did not arrive at {path}"
        if found.get(path) != DELIVERED:
            yield f"{posting.name} at {path} is in state {found.get(path)}"


def strangers(evidence: Evidence) -> list[str]:
    """Return what nobody posted, and what arrived under an id that it does not have."""
    stored = _stored_by_name(evidence)
    posted = {each.name for each in evidence.postings}
    found = [f"nobody posted {name}" for name in sorted({*stored} - posted)]
    for name, path, event_id in sorted({(each.name, each.path, each.event_id) for each in evidence.arrivals}):
        if event_id not in {each.event_id for each in stored.get(name, [])}:
            found.append(f"{name} arrived at {path} as {event_id}, which it is not")
    return found


def identities(evidence: Evidence) -> list[str]:
    """Return what was told under two ids, or under one that the store does not have."""
    stored = _stored_by_name(evidence)
    return [
        f"{posting.name} was told as {sorted(posting.ids)}, stored as {sorted(ids)}"
        for posting in evidence.postings
        if posting.ids and posting.ids != (ids := {each.event_id for each in stored[posting.name]})
    ]


def disorder(evidence: Evidence) -> list[str]:
    """Return what came before the one before it in its lane was answered, and what is stored in another order."""
    firsts = _firsts(evidence)
    positions = {each.name: each.seq for each in evidence.stored}
    lanes: dict[str, list[Posting]] = defaultdict(list)
    for posting in evidence.postings:
        if posting.lane is not None and ORDERED in posting.paths:
            lanes[posting.lane].append(posting)
    found = []
    for lane in lanes.values():
        lane.sort(key=lambda posting: posting.place)
        for before, after in pairwise(lane):
            if positions.get(before.name, 0) >= positions.get(after.name, 0):
                found.append(f"{after.name} is stored before {before.name}")
            answered, began = firsts.get(before.name, (None, None))[0], firsts.get(after.name, (None, None))[1]
            if began is not None and (answered is None or began < answered):
                found.append(f"{after.name} came before {before.name} was answered")
    return found


def _firsts(evidence: Evidence) -> dict[str, tuple[int | None, int]]:
    """Return, by name, when each was first answered and when it first came, where order counts."""
    firsts: dict[str, tuple[int | None, int]] = {}
    for each in evidence.arrivals:
        if each.path == ORDERED:
            answered, began = firsts.get(each.name, (None, each.began))
            marks = [mark for mark in (answered, each.answered) if mark is not None]
            firsts[each.name] = (min(marks, default=None), min(began, each.began))
    return firsts


def copies(evidence: Evidence) -> dict[Key, int]:
    """Return how often deliveries came again that had been answered 2xx already; those that did not are left out."""
    arrivals: dict[Key, list[Arrival]] = defaultdict(list)
    for each in evidence.arrivals:
        arrivals[each.event_id, each.path].append(each)
    found = {}
    for key, several in arrivals.items():
        answered = min((each.answered for each in several if each.answered is not None), default=None)
        again = 0 if answered is None else sum(each.began > answered for each in several)
        if again:
            found[key] = again
    return found


def forced_copies(evidence: Evidence) -> dict[Key, int]:
    """Return those of the copies that were made because their first sender was stopped for longer than its lease.

    They were leased when it was stopped, and what it had to tell of them is recorded as late.
    """
    late = {(event.event_id, each.path) for event in evidence.stored for each in event.deliveries if each.is_late}
    leased = {key for pause in evidence.pauses for key in pause.leased}
    return {key: again for key, again in copies(evidence).items() if key in late & leased}


def too_many_copies(evidence: Evidence, share_max: float = 0.01) -> list[str]:
    """Return whether kills doubled more than that share of all deliveries, or pauses more than was in flight."""
    forced = forced_copies(evidence)
    others = sum(copies(evidence).values()) - sum(forced.values())
    # One that the receiver refused comes once more, which is no copy that the pause made.
    refused = sum((each.event_id, each.path) in forced and each.answered is None for each in evidence.arrivals)
    made = sum(forced.values()) - refused
    deliveries = sum(len(each.deliveries) for each in evidence.stored)
    in_flight = sum(len(each.leased) for each in evidence.pauses)
    found = []
    if others > share_max * deliveries:
        found.append(f"{others} copies of {deliveries} deliveries are more than {share_max:.0%}")
    if made > in_flight:
        found.append(f"pauses made {made} copies, with {in_flight} in flight")
    return found


def stale_settles(evidence: Evidence) -> list[str]:
    """Return deliveries that a settle changed whose lease was over, or whose attempts are not one row to success."""
    answers: dict[Key, int] = defaultdict(int)
    for each in evidence.arrivals:
        answers[each.event_id, each.path] += each.answered is not None
    found = []
    deliveries = {(event.event_id, each.path): each for event in evidence.stored for each in event.deliveries}
    for key, delivery in deliveries.items():
        found += [f"{key}: {fault}" for fault in _settle_faults(delivery, answers[key])]
    # What a stopped dispatcher had under way was taken over, and its own outcome came too late for all of it.
    under_way = {key for pause in evidence.pauses for key in pause.under_way}
    for key in sorted(under_way):
        if key not in deliveries or not deliveries[key].is_late:
            found.append(f"{key}: what a stopped dispatcher had under way is not recorded as late")
    return found


def _settle_faults(delivery: StoredDelivery, answers: int) -> Iterator[str]:
    counted = [each for each in delivery.attempts if each.number > 0]
    if {each.number for each in counted} != set(range(1, delivery.attempts_made + 1)):
        yield f"attempts {[each.number for each in counted]} for {delivery.attempts_made} made"
    if [each.is_success for each in counted] != [False] * (len(counted) - 1) + [True] * bool(counted):
        yield "the attempts that count do not end with their first success"
    recorded = sum(each.is_success for each in delivery.attempts)
    if recorded > answers:
        yield f"{recorded} successes are recorded of {answers} that the receiver answered"


def refusals(evidence: Evidence) -> list[str]:
    """Return answers other than 2xx, or 503 with ``Retry-After``, faults in logs, and processes that ended badly."""
    found = [*evidence.refusals, *evidence.log_faults]
    return found + [f"a process ended with {status}" for status in evidence.statuses if status != 0]


JUDGEMENTS = (lost, strangers, identities, disorder, too_many_copies, stale_settles, refusals)


def verdict(evidence: Evidence) -> dict[str, list[str]]:
    """Return what is wrong, by judgement; nothing where nothing is."""
    return {judge.__name__: found for judge in JUDGEMENTS if (found := judge(evidence))}


def _stored_by_name(evidence: Evidence) -> defaultdict[str, list[StoredEvent]]:
    stored: defaultdict[str, list[StoredEvent]] = defaultdict(list)
    for each in evidence.stored:
        stored[each.name].append(each)
    return stored
