"""Bodies of the management routes, and how endpoints, keys, events and errors are shown."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from dialects.promptjang.given import AT, AT_MS, ENDPOINT, ENDPOINT_HEX, ORGANISATION, URL
from tocsin.core.destination import Destination, Filter, SealedSecret, Transport, matches
from tocsin.core.errors import (
    InvalidRequest,
)
from tocsin.core.event import Dialect, Environment
from tocsin.core.identifiers import KeyId
from tocsin.core.organisation import GRANTABLE_SCOPES, ApiKey, Scope
from tocsin.core.retry import PROMPTJANG
from tocsin.dialects.promptjang import parsing
from tocsin.dialects.promptjang.account import KeyWish, parse_key, parse_organisation
from tocsin.dialects.promptjang.endpoints import endpoint_changes, endpoint_spec, parse_endpoint
from tocsin.dialects.promptjang.limits import PromptJangLimits
from tocsin.dialects.promptjang.rendering import (
    endpoint_shown,
    key_shown,
)

LIMITS = PromptJangLimits()


def body(**members: Any) -> bytes:
    return json.dumps(members).encode()


# -- endpoints ---------------------------------------------------------------------------------------------


def test_an_endpoint_needs_a_url_and_nothing_else() -> None:
    assert parse_endpoint(body(url=URL), creating=True, limits=LIMITS) == {"url": URL}
    with pytest.raises(InvalidRequest):
        parse_endpoint(b"{}", creating=True, limits=LIMITS)
    assert parse_endpoint(b"{}", creating=False, limits=LIMITS) == {}


def test_all_members_are_taken_and_repeated_types_count_once() -> None:
    given = body(url=URL, description="d", event_types=["b", "a", "b"], enabled=False)
    assert parse_endpoint(given, creating=False, limits=LIMITS) == {
        "url": URL,
        "description": "d",
        "event_types": ("b", "a"),
        "enabled": False,
    }


@pytest.mark.parametrize(
    "member",
    [
        {"url": "u" * 2048},
        {"description": "d" * 1000},
        {"description": ""},
        {"description": None},
        {"event_types": []},
        {"event_types": [f"t{number}" for number in range(100)]},
        {"event_types": ["t" * 128]},
        {"enabled": True},
    ],
)
def test_members_at_their_bounds_are_taken(member: dict[str, Any]) -> None:
    assert parse_endpoint(body(**member), creating=False, limits=LIMITS).keys() == member.keys()


@pytest.mark.parametrize(
    "member",
    [
        {"url": "u" * 2049},
        {"url": ""},
        {"url": None},
        {"url": 1},
        {"url": "https://example.com/\n"},
        {"description": "d" * 1001},
        {"description": 1},
        {"event_types": [f"t{number}" for number in range(101)]},
        {"event_types": ["t" * 129]},
        {"event_types": [""]},
        {"event_types": ["order.*"]},
        {"event_types": [1]},
        {"event_types": None},
        {"event_types": "order"},
        {"event_types": {"a": 1}},
        {"enabled": "yes"},
        {"enabled": None},
        {"secret": "whsec_mine"},
        {"id": "ep_1"},
    ],
)
def test_members_out_of_bounds_are_refused(member: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        parse_endpoint(body(**member), creating=False, limits=LIMITS)


def test_enabled_is_not_for_a_new_endpoint() -> None:
    with pytest.raises(InvalidRequest):
        parse_endpoint(body(url=URL, enabled=False), creating=True, limits=LIMITS)


def passes(wanted: Filter, **changes: Any) -> bool:
    attributes: dict[str, Any] = {
        "dialect": Dialect.PROMPTJANG,
        "source": parsing.endpoint_source(ENDPOINT),
        "type": "order.created",
        "subject": None,
        "severity": None,
    }
    return matches(wanted, **attributes | changes)


def test_an_endpoint_is_a_webhook_that_gets_what_is_sent_to_it_and_nothing_else() -> None:
    spec = endpoint_spec(ENDPOINT, {"url": URL, "event_types": ("order.created",)}, LIMITS)
    assert (spec.origin, spec.transport, spec.retry) == (Dialect.PROMPTJANG, Transport.WEBHOOK, PROMPTJANG)
    assert spec.address == {"url": URL, "method": "POST"}
    assert passes(spec.filter)
    assert not passes(spec.filter, type="order.updated")
    assert not passes(spec.filter, source=parsing.endpoint_source(b"x" * 16))
    assert not passes(spec.filter, dialect=Dialect.CLOUDEVENTS)


def test_an_endpoint_without_types_gets_all_of_them() -> None:
    spec = endpoint_spec(ENDPOINT, {"url": URL, "event_types": ()}, LIMITS)
    assert passes(spec.filter, type="whatever")


@pytest.mark.parametrize(
    ("description", "name"), [("", f"ep_{ENDPOINT_HEX}"), ("Shop", "Shop"), ("d" * 101, "d" * 100)]
)
def test_an_endpoint_is_called_by_its_description_where_it_has_one(description: str, name: str) -> None:
    assert endpoint_spec(ENDPOINT, {"url": URL, "description": description}, LIMITS).name == name
    assert endpoint_changes(endpoint(), {"description": description}, LIMITS)["name"] == name


def endpoint(**changes: Any) -> Destination:
    spec = endpoint_spec(ENDPOINT, {"url": URL, "event_types": ("a",)}, LIMITS)
    made = Destination(
        id=ENDPOINT,
        organisation_id=ORGANISATION,
        name=spec.name,
        transport=spec.transport,
        created_ms=AT_MS,
        updated_ms=AT_MS + 1000,
        origin=spec.origin,
        address=spec.address,
        filter=spec.filter,
        secrets=(SealedSecret(b"sealed", AT_MS),),
    )
    return msgspec.structs.replace(made, **changes)


def test_a_partial_change_replaces_what_it_names() -> None:
    assert endpoint_changes(endpoint(), {}, LIMITS) == {}
    changes = endpoint_changes(endpoint(), {"event_types": ("b",), "enabled": False}, LIMITS)
    assert changes["enabled"] is False
    assert changes["filter"].types == ("b",)
    assert changes["filter"].sources == endpoint().filter.sources
    assert changes["filter"].dialects == (Dialect.PROMPTJANG,)


def test_another_url_keeps_the_method_and_leaves_masked_headers_to_whoever_holds_them() -> None:
    before = endpoint(address={"url": URL, "method": "PUT", "headers": {"X-Token": "***"}})
    changes = endpoint_changes(before, {"url": "https://example.com/new"}, LIMITS)
    assert changes == {"address": {"url": "https://example.com/new", "method": "PUT"}}


def test_an_endpoint_shows_its_secret_only_when_it_was_just_made() -> None:
    shown = {
        "id": f"ep_{ENDPOINT_HEX}",
        "url": URL,
        "description": "",
        "event_types": ("a",),
        "enabled": True,
        "created_at": AT,
    }
    assert endpoint_shown(endpoint()) == shown
    assert endpoint_shown(endpoint(), secret="whsec_x") == shown | {"secret": "whsec_x"}
    assert endpoint_shown(endpoint(), changed=True) == shown | {"updated_at": "2026-05-26T12:00:01Z"}


# -- keys and the organisation -----------------------------------------------------------------------------


def test_a_key_is_live_and_may_do_all_unless_it_is_said_otherwise() -> None:
    assert parse_key(body(name="ci"), LIMITS) == KeyWish(
        name="ci", environment=Environment.LIVE, scopes=GRANTABLE_SCOPES
    )
    wish = parse_key(body(name="n" * 100, environment="test", scopes=["read", "read"]), LIMITS)
    assert (wish.environment, wish.scopes) == (Environment.TEST, frozenset({Scope.READ}))


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"name": ""},
        {"name": "n" * 101},
        {"name": None},
        {"name": "a\nb"},
        {"name": "n", "environment": "prod"},
        {"name": "n", "environment": None},
        {"name": "n", "environment": ["live"]},
        {"name": "n", "scopes": []},
        {"name": "n", "scopes": "read"},
        {"name": "n", "scopes": None},
        {"name": "n", "scopes": ["operator"]},
        {"name": "n", "scopes": ["read", "root"]},
        {"name": "n", "scopes": [["read"]]},
        {"name": "n", "scopes": [{}]},
        {"name": "n", "key": "tcs_live_mine"},
    ],
)
def test_a_key_out_of_bounds_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        parse_key(body(**members), LIMITS)


def test_a_key_shows_its_text_only_when_it_was_just_made() -> None:
    key = ApiKey(
        id=KeyId(bytes(16)),
        organisation_id=ORGANISATION,
        name="ci",
        digest=b"d",
        hint="tcs_live_abc",
        created_ms=AT_MS,
        scopes=frozenset({Scope.READ, Scope.INGEST}),
    )
    shown = {
        "id": "key_" + "0" * 32,
        "name": "ci",
        "prefix": "tcs_live_abc",
        "environment": "live",
        "scopes": ["ingest", "read"],
        "created_at": AT,
    }
    assert key_shown(key) == shown
    assert key_shown(key, text="tcs_live_x") == shown | {"key": "tcs_live_x"}


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"name": "n" * 100},
        {"jwks_url": None},
        {"jwks_url": "https://idp.example.com/keys"},
        {"jwks_url": "https://idp.example.com:8443/keys?tenant=1", "name": "n"},
    ],
)
def test_an_organisation_takes_a_name_and_a_set_of_keys(members: dict[str, Any]) -> None:
    assert parse_organisation(body(**members), LIMITS) == members


@pytest.mark.parametrize(
    "members",
    [
        {"name": ""},
        {"name": "n" * 101},
        {"name": None},
        {"plan": "unlimited"},
        {"id": "org_1"},
        {"jwks_url": ""},
        {"jwks_url": "http://idp.example.com/keys"},
        {"jwks_url": "https://"},
        {"jwks_url": "https://user:pass@idp.example.com/keys"},
        {"jwks_url": "https://idp.example.com/a b"},
        {"jwks_url": "https://idp.example.com:99999/"},
        {"jwks_url": "https://[::1/"},
        {"jwks_url": "file:///etc/passwd"},
        {"jwks_url": "https://idp.example.com/" + "a" * 2048},
        {"jwks_url": 1},
    ],
)
def test_an_organisation_out_of_bounds_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        parse_organisation(body(**members), LIMITS)
