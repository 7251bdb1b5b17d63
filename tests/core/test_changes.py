"""How changes are told: what happened in one word, what differs by value where it may be told, else by name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tocsin.core.changes import created, removed, updated
from tocsin.core.destination import Destination, Filter, IncidentStyle, SealedSecret, Transport
from tocsin.core.event import Environment
from tocsin.core.identifiers import ChannelId, DestinationId, KeyId, OrganisationId
from tocsin.core.organisation import ApiKey, Category, Channel, Organisation, Scope, ServiceKey
from tocsin.core.quiet_hours import QuietHours
from tocsin.core.quota import Plan

OURS = OrganisationId(b"o" * 16)
HOOK = Destination(
    id=DestinationId(b"\x01" * 16),
    organisation_id=OURS,
    name="a",
    transport=Transport.WEBHOOK,
    created_ms=0,
    updated_ms=0,
    address={"url": "https://receiver.example:8443/secret-path?token=secret"},
)
SUBJECT = "dst_" + "01" * 16


@pytest.mark.parametrize(
    ("changes", "action", "summary"),
    [
        ({"paused": True}, "destination.paused", {"changed": {"paused": {"from": False, "to": True}}, "also": []}),
        ({"enabled": False}, "destination.disabled", None),
        ({"name": "b", "paused": True}, "destination.updated", None),
        (
            {"secrets": (SealedSecret(b"s", 1),)},
            "destination.secret_rotated",
            {"changed": {}, "also": ["secrets"]},
        ),
        (
            {"filter": Filter(types=("a.*",)), "sealed_address": b"x", "address": {**HOOK.address, "method": "PUT"}},
            "destination.updated",
            {"changed": {}, "also": ["address", "filter"]},
        ),
        (
            {"address": {"url": "https://user:secret@other.example?secret"}},
            "destination.updated",
            {
                "changed": {"host": {"from": "https://receiver.example:8443", "to": "https://other.example"}},
                "also": ["address"],
            },
        ),
        ({"address": {}}, "destination.updated", None),
        (
            {"quiet_hours": QuietHours(start="22:00", end="07:00"), "incidents": IncidentStyle.POST},
            "destination.updated",
            {
                "changed": {
                    "incidents": {"from": "edit", "to": "post"},
                    "quiet_hours": {"from": None, "to": {"start": "22:00", "end": "07:00", "timezone": "UTC"}},
                },
                "also": [],
            },
        ),
    ],
)
def test_a_change_of_a_destination(changes: dict[str, Any], action: str, summary: dict[str, Any] | None) -> None:
    change = updated(HOOK, msgspec.structs.replace(HOOK, **changes, updated_ms=9, revision=4))
    assert change is not None
    assert (change.action, change.subject) == (action, SUBJECT)
    assert summary is None or change.summary == {"name": "a"} | summary
    assert "secret-path" not in repr(change.summary)
    assert "token" not in repr(change.summary)


def test_what_changes_by_itself_is_no_change() -> None:
    after = msgspec.structs.replace(
        HOOK, revision=4, updated_ms=9, failing_since_ms=3, disabled_reason="gone", learned={"a": 1}
    )
    assert updated(HOOK, after) is None


def test_resuming_and_enabling_have_words_of_their_own() -> None:
    off = msgspec.structs.replace(HOOK, paused=True, enabled=False)
    resumed = updated(off, msgspec.structs.replace(off, paused=False))
    enabled = updated(off, msgspec.structs.replace(off, enabled=True))
    assert resumed is not None
    assert enabled is not None
    assert (resumed.action, enabled.action) == ("destination.resumed", "destination.enabled")


def test_what_is_made_and_removed_is_told_without_its_secrets() -> None:
    key = ApiKey(
        id=KeyId(b"\x02" * 16),
        organisation_id=OURS,
        name="ci",
        digest=b"secret",
        hint="secret",
        created_ms=0,
        environment=Environment.TEST,
        scopes=frozenset({Scope.READ, Scope.INGEST}),
    )
    made = created(key)
    assert (made.action, made.subject) == ("key.created", "key_" + "02" * 16)
    assert made.summary == {"name": "ci", "environment": "test", "scopes": ["ingest", "read"]}
    assert removed(key).summary == {"name": "ci"}
    channel = Channel(id=ChannelId(bytes(16)), organisation_id=OURS, name="ops", password_hash="secret", created_ms=0)
    assert created(channel).subject == "0" * 26
    service_key = ServiceKey(
        id=KeyId(b"\x03" * 16),
        organisation_id=OURS,
        algorithm="ES256",
        public_jwk={},
        sealed_private_jwk=b"secret",
        created_ms=0,
    )
    assert removed(service_key).summary == {}
    told = repr([created(each) for each in (key, channel, service_key)])
    assert "secret" not in told


def test_a_channels_password_and_an_organisations_plan() -> None:
    channel = Channel(id=ChannelId(bytes(16)), organisation_id=OURS, name="ops", password_hash="a", created_ms=0)
    change = updated(channel, msgspec.structs.replace(channel, password_hash="b"))
    assert change is not None
    assert change.summary == {"name": "ops", "changed": {}, "also": ["password"]}
    organisation = Organisation(id=OURS, name="us", created_ms=0)
    change = updated(organisation, msgspec.structs.replace(organisation, plan=Plan.FREE))
    assert change is not None
    assert change.summary["changed"] == {"plan": {"from": "unlimited", "to": "free"}}


def test_a_category_is_known_by_the_name_that_it_had() -> None:
    category = Category(id=KeyId(bytes(16)), organisation_id=OURS, name="bug", color=1, created_ms=0)
    change = updated(category, msgspec.structs.replace(category, name="fault"))
    assert change is not None
    assert (change.action, change.subject) == ("category.updated", "bug")
    assert change.summary["changed"] == {"name": {"from": "bug", "to": "fault"}}
