"""Idempotency keys, and the bucket in which an event has to be."""

from __future__ import annotations

import os

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.event import Dialect, Draft, bucket_for, idempotency_key
from tocsin.core.identifiers import BUCKETS, EventId, IdSequence, OrganisationId, bucket_of, hex32, subject_bucket
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


@given(st.integers(0, BUCKETS - 1), IDS)
def test_an_event_of_an_incident_is_where_the_incident_is(bucket: int, replayed: bytes) -> None:
    incident_id = EventId(IdSequence(os.urandom).make(1, bucket))
    update = IncidentChange(action=IncidentAction.UPDATE, channel="c", at_ms=0, incident_id=incident_id)
    draft = msgspec.structs.replace(DRAFT, incident=update, replay_of=EventId(replayed), subject=hex32(incident_id))
    assert bucket_for(draft) == bucket


@given(IDS)
def test_a_replay_without_a_subject_is_where_its_original_is(replayed: bytes) -> None:
    assert bucket_for(msgspec.structs.replace(DRAFT, replay_of=EventId(replayed))) == bucket_of(replayed)


@given(st.text(max_size=9), IDS, st.text(max_size=9))
def test_events_of_one_subject_share_a_bucket_whoever_tells_of_it(subject: str, replayed: bytes, source: str) -> None:
    key = idempotency_key(THEIRS, "s", "k", PRINT, expires_after_ms=1)
    plain = msgspec.structs.replace(DRAFT, subject=subject)
    other = msgspec.structs.replace(
        plain,
        organisation_id=THEIRS,
        source=source,
        type="other",
        data=b"[]",
        idempotency=(key,),
        replay_of=EventId(replayed),
    )
    assert bucket_for(plain) == bucket_for(other) == subject_bucket(subject)


def test_subjects_are_spread() -> None:
    drafts = [msgspec.structs.replace(DRAFT, subject=str(number)) for number in range(100)]
    assert len({bucket_for(each) for each in drafts}) > BUCKETS // 2


def test_an_event_that_may_be_repeated_is_where_its_first_key_is() -> None:
    keys = tuple(idempotency_key(OURS, "s", key, PRINT, expires_after_ms=1) for key in "ab")
    assert bucket_for(msgspec.structs.replace(DRAFT, idempotency=keys)) == keys[0].bucket
