"""What an event does to its incident."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.environment import Environment
from tocsin.core.identifiers import EventId, OrganisationId
from tocsin.core.incident import (
    Incident,
    IncidentAction,
    IncidentChange,
    IncidentRefusal,
    IncidentState,
    advance,
    patched,
)

OURS, THEIRS = OrganisationId(b"o" * 16), OrganisationId(b"t" * 16)
ID, NEXT = EventId(b"i" * 16), EventId(b"n" * 16)
OPEN = Incident(
    id=ID,
    organisation_id=OURS,
    channel="c",
    state=IncidentState.ONGOING,
    opened_ms=10,
    updated_ms=20,
    profile={"title": "a", "status": "open"},
    attrs={"a": 1, "nested": {"x": 1, "y": 2}},
)
CLOSED = msgspec.structs.replace(OPEN, state=IncidentState.CLOSED, closed_ms=30, updated_ms=30)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda each: st.dictionaries(st.text("ab", max_size=1), each, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text("ab", max_size=1), JSON, max_size=3)


def _change(action: IncidentAction, *, at_ms: int = 25, channel: str = "c", **more: Any) -> IncidentChange:
    return IncidentChange(action=action, channel=channel, at_ms=at_ms, incident_id=ID, **more)


def _moved(incident: Incident, change: IncidentChange) -> Incident:
    moved = advance(incident, change, NEXT, OURS)
    assert isinstance(moved, Incident)
    return moved


def test_a_new_incident_is_what_its_event_says() -> None:
    change = _change(IncidentAction.CREATE, at_ms=5, profile={"title": "t"}, attrs={"a": None, "b": {"c": 1}})
    assert advance(None, change, NEXT, OURS) == Incident(
        id=NEXT,
        organisation_id=OURS,
        channel="c",
        state=IncidentState.ONGOING,
        opened_ms=5,
        updated_ms=5,
        profile={"title": "t"},
        attrs={"b": {"c": 1}},
    )


def test_an_update_replaces_what_it_carries_and_keeps_the_rest() -> None:
    change = _change(IncidentAction.UPDATE, profile={"status": "worse"}, attrs={"a": None, "nested": {"x": 9}})
    assert _moved(OPEN, change) == msgspec.structs.replace(
        OPEN,
        updated_ms=25,
        profile={"title": "a", "status": "worse"},
        attrs={"nested": {"x": 9, "y": 2}},
    )


def test_an_update_that_comes_late_does_not_set_the_time_back() -> None:
    assert _moved(OPEN, _change(IncidentAction.UPDATE, at_ms=15)).updated_ms == 20


def test_a_close_is_an_update_that_ends_it() -> None:
    closed = _moved(OPEN, _change(IncidentAction.CLOSE, profile={"status": "done"}))
    assert (closed.state, closed.closed_ms, closed.updated_ms) == (IncidentState.CLOSED, 25, 25)
    assert closed.profile == {"title": "a", "status": "done"}


def test_after_the_close_only_what_happened_before_it_is_taken() -> None:
    assert _moved(CLOSED, _change(IncidentAction.UPDATE, at_ms=29)) == CLOSED
    for action, at_ms in [(IncidentAction.UPDATE, 30), (IncidentAction.CLOSE, 29), (IncidentAction.CLOSE, 30)]:
        assert advance(CLOSED, _change(action, at_ms=at_ms), NEXT, OURS) is IncidentRefusal.CLOSED


@pytest.mark.parametrize("action", [IncidentAction.UPDATE, IncidentAction.CLOSE])
@pytest.mark.parametrize(
    ("incident", "channel", "organisation"),
    [(None, "c", OURS), (OPEN, "d", OURS), (OPEN, "c", THEIRS), (CLOSED, "d", OURS), (CLOSED, "c", THEIRS)],
)
def test_what_is_not_ones_own_is_not_found(
    action: IncidentAction, incident: Incident | None, channel: str, organisation: OrganisationId
) -> None:
    change = _change(action, channel=channel)
    assert advance(incident, change, NEXT, organisation) is IncidentRefusal.NOT_FOUND


@pytest.mark.parametrize("action", [IncidentAction.UPDATE, IncidentAction.CLOSE])
def test_an_incident_of_the_other_environment_is_not_found(action: IncidentAction) -> None:
    test = msgspec.structs.replace(OPEN, environment=Environment.TEST)
    assert advance(test, _change(action), NEXT, OURS) is IncidentRefusal.NOT_FOUND
    change = _change(action, environment=Environment.TEST)
    assert advance(OPEN, change, NEXT, OURS) is IncidentRefusal.NOT_FOUND
    assert _moved(test, change).environment is Environment.TEST


def test_a_new_incident_is_of_its_events_environment() -> None:
    made = advance(None, _change(IncidentAction.CREATE, environment=Environment.TEST), NEXT, OURS)
    assert isinstance(made, Incident)
    assert made.environment is Environment.TEST


def test_merged_attrs_are_bounded_by_their_json() -> None:
    patch = {"a": None, "nested": {"x": None, "z": 10**30}, "text": "é"}
    length = len(f'{{"nested":{{"y":2,"z":{10**30}}},"text":"é"}}'.encode())
    for action in (IncidentAction.UPDATE, IncidentAction.CLOSE):
        moved = _moved(OPEN, _change(action, attrs=patch, attrs_bytes_max=length))
        assert moved.attrs == {"nested": {"y": 2, "z": 10**30}, "text": "é"}
        refused = advance(OPEN, _change(action, attrs=patch, attrs_bytes_max=length - 1), NEXT, OURS)
        assert refused is IncidentRefusal.ATTRS_TOO_LARGE


def test_a_new_incident_s_attrs_are_bounded_too() -> None:
    for bound, refused in [(7, False), (6, True)]:
        change = _change(IncidentAction.CREATE, attrs={"a": 1}, attrs_bytes_max=bound)
        assert (advance(None, change, NEXT, OURS) is IncidentRefusal.ATTRS_TOO_LARGE) is refused


def test_what_brings_no_attrs_is_not_refused_for_them() -> None:
    assert _moved(OPEN, _change(IncidentAction.CLOSE, attrs_bytes_max=1)).state is IncidentState.CLOSED


@given(OBJECTS, OBJECTS)
def test_a_patch_changes_neither_itself_nor_what_it_is_applied_to(
    attrs: dict[str, Any], patch: dict[str, Any]
) -> None:
    before = copy.deepcopy((attrs, patch))
    patched(attrs, patch)
    assert (attrs, patch) == before


@given(OBJECTS, OBJECTS)
def test_a_patch_is_a_merge_patch(attrs: dict[str, Any], patch: dict[str, Any]) -> None:
    assert patched(attrs, patch) == _merge_patch(attrs, patch)


@given(OBJECTS, OBJECTS)
def test_a_patch_told_twice_is_told_once(attrs: dict[str, Any], patch: dict[str, Any]) -> None:
    assert patched(patched(attrs, patch), patch) == patched(attrs, patch)


def _merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch as RFC 7396 writes it down, section 2."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge_patch(merged.get(name), value)
    return merged
