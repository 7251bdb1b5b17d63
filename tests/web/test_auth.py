"""Who asks, and what a key may do: every route of the gateway with a key of each scope."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway import Answer, Gateway
from surface import OPEN, SURFACE, Mounted, credentials, every_route, is_told_as
from tocsin.core.errors import NotPermitted
from tocsin.core.event import Environment
from tocsin.core.identifiers import OrganisationId
from tocsin.core.organisation import GRANTABLE_SCOPES, Scope
from tocsin.web.auth import Principal, bearer

KEY = "tcs_live_" + "a" * 64


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (f"Bearer {KEY}", KEY),
        (f"bearer {KEY}", KEY),
        (f"BEARER {KEY}", KEY),
        (f"Bearer   {KEY}", KEY),
        (f"Bearer {KEY}  ", KEY),
        (f"Bearer {KEY} and more", f"{KEY} and more"),
        ("Bearer ", ""),
        ("Bearer", None),
        (f"Bearer{KEY}", None),
        (f" Bearer {KEY}", None),
        (f"Basic {KEY}", None),
        (f"Token {KEY}", None),
        (KEY, None),
        ("", None),
        (None, None),
    ],
)
def test_a_bearer_is_read_whatever_the_case_of_its_scheme(header: str | None, token: str | None) -> None:
    assert bearer(header) == token


def test_a_principal_has_its_scopes_and_no_other() -> None:
    principal = Principal(
        organisation_id=OrganisationId(b"o" * 16), environment=Environment.LIVE, scopes=frozenset({Scope.READ})
    )
    principal.require(Scope.READ)
    for scope in set(Scope) - {Scope.READ}:
        with pytest.raises(NotPermitted, match=scope.value) as refused:
            principal.require(scope)
        assert refused.value.code == "missing_scope"


def test_the_operators_scope_cannot_be_granted(gateway: Gateway) -> None:
    assert set(Scope) - GRANTABLE_SCOPES == {Scope.OPERATOR}
    key = gateway.new_organisation()["key"]
    answer = gateway.process.request("POST", "/api/v1/keys", {"name": "n", "scopes": ["operator"]}, key=key)
    assert answer.status == 400


# -- every route -------------------------------------------------------------------------------------------


@pytest.fixture(name="keys", scope="module")
def _keys(gateway: Gateway) -> dict[str, str]:
    """A key of each scope, of one organisation; the operator's has them all."""
    names = gateway.new_organisation()
    keys = {scope: names[f"{scope}_key"] for scope in ("ingest", "read", "manage")}
    return keys | {"operator": gateway.process.keys["operator_key"]}


def ask(gateway: Gateway, mounted: Mounted, key: str | None) -> Answer:
    """Ask with an empty body and an id that nobody has; who may ask gets further than the check of its scope."""
    return gateway.process.request(
        mounted.method, mounted.asked("no-such-thing"), headers=credentials(mounted.dialect, key)
    )


def lacks_scope(answer: Answer) -> bool:
    """Return whether this key was refused for its scopes."""
    return answer.status == 403 and any(
        words in answer.body for words in (b"lacks the scope", b"not allowed to send events")
    )


@every_route
def test_a_route_lets_in_who_has_its_scope_and_nobody_else(
    gateway: Gateway, keys: dict[str, str], mounted: Mounted
) -> None:
    for scope, key in keys.items():
        answer = ask(gateway, mounted, key)
        if mounted.scope in (OPEN, scope) or scope == "operator":
            assert answer.status not in (401, 405), scope
            assert not lacks_scope(answer), scope
            assert answer.status < 500
        else:
            assert lacks_scope(answer), (scope, answer)
            assert is_told_as(mounted.dialect, answer)


@every_route
def test_a_route_lets_nobody_in_without_a_key_that_exists(gateway: Gateway, mounted: Mounted) -> None:
    answer = ask(gateway, mounted, KEY)
    if mounted.scope == OPEN:
        # A mail's link is a key by itself, and this one nobody was given.
        assert answer.status == (404 if "{token}" in mounted.path else 200)
        return
    assert answer.status == 401
    assert is_told_as(mounted.dialect, answer)
    if mounted.dialect != "pushgo":
        # Without a bearer PushGo's routes are those of the default organisation, as its contract has it.
        without = ask(gateway, mounted, None)
        assert without.status == 401
        assert is_told_as(mounted.dialect, without)


MALFORMED: dict[str, Callable[[str], str]] = {
    "another case": str.upper,
    "cut short": lambda key: key[:-1],
    "too long": lambda key: key + "0",
    "in quotes": lambda key: f'"{key}"',
    "its hint": lambda key: key[:12],
    "not ASCII": lambda key: key[:-1] + "\u00e9",
    "two of them": lambda key: f"{key}, {key}",
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("dialect", sorted({each.dialect for each in SURFACE if each.scope != OPEN}))
def test_a_key_is_taken_as_it_was_given_or_not_at_all(
    gateway: Gateway, keys: dict[str, str], dialect: str, change: Callable[[str], str]
) -> None:
    mounted = next(each for each in SURFACE if each.dialect == dialect and each.scope in ("ingest", "read"))
    assert ask(gateway, mounted, keys[mounted.scope]).status != 401
    answer = ask(gateway, mounted, change(keys[mounted.scope]))
    assert answer.status == 401
    assert keys[mounted.scope].encode() not in answer.body
