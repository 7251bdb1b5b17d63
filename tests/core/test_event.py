"""Idempotency keys, and the bucket in which an event has to be."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.event import Dialect, Draft, bucket_for, idempotency_key
from tocsin.core.identifiers import BUCKETS, EventId, OrganisationId, bucket_of
from tocsin.core.incident import IncidentAction, IncidentChange

OURS, THEIRS = OrganisationId(b"o" * 16), OrganisationId(b"t" * 16)
PRINT = b"f" * 16
DRAFT = Draft(organisation_id=OURS, dialect=Dialect.PUSHGO, source="s", type="t", time_ms=0, data=b"{}")
IDS = st.binary(min_size=16, max_size=16)


def _key(organisation: OrganisationId, scope: str, key: str) -> bytes:
    return idempotency_key(organisation, scope, key, PRINT, expires_after_ms=1).digest


def test_a_key_is_known_by_organisation_scope_and_text() -> None:
    assert _key(OURS, "a", "k") == _key(OURS, "a", "k")
    others = [_key(THEIRS, "a", "k"), _key(OURS, "b", "k"), _key(OURS, "a", "l"), _key(OURS, "ak", "")]
    assert len({_key(OURS, "a", "k"), *others}) == 5


@given(st.text(max_size=9), st.binary(min_size=16, max_size=16))
def test_a_keys_bucket_does_not_depend_on_what_is_asked_for(key: str, fingerprint: bytes) -> None:
    made = idempotency_key(OURS, "s", key, fingerprint, expires_after_ms=5)
    assert made.bucket == idempotency_key(OURS, "s", key, PRINT, expires_after_ms=9).bucket
    assert 0 <= made.bucket < BUCKETS
    assert (made.fingerprint, made.expires_after_ms) == (fingerprint, 5)


def test_a_key_may_be_kept_where_its_scope_is() -> None:
    assert idempotency_key(OURS, "s", "k", PRINT, expires_after_ms=1, bucket=7).bucket == 7


def test_an_event_that_nothing_binds_may_be_anywhere() -> None:
    assert bucket_for(DRAFT) is None
    create = IncidentChange(action=IncidentAction.CREATE, channel="c", at_ms=0)
    assert bucket_for(msgspec.structs.replace(DRAFT, incident=create)) is None


@given(IDS, IDS, st.text(max_size=9))
def test_an_event_of_an_incident_is_where_the_incident_is(incident_id: bytes, replayed: bytes, subject: str) -> None:
    update = IncidentChange(action=IncidentAction.UPDATE, channel="c", at_ms=0, incident_id=EventId(incident_id))
    draft = msgspec.structs.replace(DRAFT, incident=update, replay_of=EventId(replayed), subject=subject)
    assert bucket_for(draft) == bucket_of(incident_id)


@given(IDS, st.text(max_size=9))
def test_a_replay_is_where_its_original_is(replayed: bytes, subject: str) -> None:
    draft = msgspec.structs.replace(DRAFT, replay_of=EventId(replayed), subject=subject)
    assert bucket_for(draft) == bucket_of(replayed)


@given(st.text(max_size=9))
def test_events_of_one_subject_share_a_bucket(subject: str) -> None:
    key = idempotency_key(OURS, "s", "k", PRINT, expires_after_ms=1)
    plain = msgspec.structs.replace(DRAFT, subject=subject)
    keyed = msgspec.structs.replace(plain, idempotency=(key,), type="other", data=b"[]")
    assert bucket_for(plain) == bucket_for(keyed)
    assert bucket_for(plain) is not None


def test_subjects_are_spread_by_organisation_source_and_text() -> None:
    drafts = [msgspec.structs.replace(DRAFT, subject=str(number)) for number in range(50)]
    drafts += [msgspec.structs.replace(DRAFT, subject="s", source=str(number)) for number in range(50)]
    assert len({bucket_for(each) for each in drafts}) > BUCKETS // 2


def test_an_event_that_may_be_repeated_is_where_its_first_key_is() -> None:
    keys = tuple(idempotency_key(OURS, "s", key, PRINT, expires_after_ms=1) for key in "ab")
    assert bucket_for(msgspec.structs.replace(DRAFT, idempotency=keys)) == keys[0].bucket
