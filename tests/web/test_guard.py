"""The guard: who is let in, in which order that is judged, and what every answer carries."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tocsin.core.errors import NotAuthenticated, NotPermitted, RateLimited
from tocsin.core.event import Environment
from tocsin.core.identifiers import KeyId, OrganisationId
from tocsin.core.organisation import GRANTABLE_SCOPES, ApiKey, Organisation, Scope, key_digest
from tocsin.core.quota import PLAN_LIMITS, Plan, PlanLimits
from tocsin.engine.rows import CatalogDelta
from tocsin.pipeline.catalog import Catalog
from tocsin.web.auth import KeyRing
from tocsin.web.guard import Guard
from tocsin.web.http import Request, Response
from tocsin.web.limits import RateLimits, RateSettings

ORGANISATION = OrganisationId(b"o" * 16)


class StillClock:
    """A clock that stands still."""

    def now_ms(self) -> int:
        return 1_700_000_000_000

    def monotonic_s(self) -> float:
        return 1.0


class OneOrganisation:
    """As much of an engine as a catalog reads."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    async def catalog_since(self, revision: int) -> CatalogDelta:
        keys = [
            _key(b"a", "tcs_live_all", GRANTABLE_SCOPES, Environment.LIVE),
            _key(b"r", "tcs_test_read", frozenset({Scope.READ}), Environment.TEST),
        ]
        organisation = Organisation(id=ORGANISATION, name="one", created_ms=1, plan=self._plan)
        return CatalogDelta(1, [organisation, *keys], [])


def _key(letter: bytes, text: str, scopes: frozenset[Scope], environment: Environment) -> ApiKey:
    return ApiKey(
        id=KeyId(letter * 16),
        organisation_id=ORGANISATION,
        name=text,
        digest=key_digest(text),
        hint=text[:12],
        created_ms=1,
        environment=environment,
        scopes=scopes,
    )


def guard_with(plan: Plan = Plan.UNLIMITED) -> Guard:
    engine: Any = OneOrganisation(plan)
    catalog = Catalog(engine)
    asyncio.run(catalog.refresh())
    plans = {**PLAN_LIMITS, Plan.FREE: PlanLimits(None, None, 2, 1)}
    limits = RateLimits(clock=StillClock(), settings=RateSettings(plans=plans))
    return Guard(keys=KeyRing(catalog), catalog=catalog, limits=limits)


def request_with(authorization: str | None, *, scheme: str = "http") -> Request:
    headers = [] if authorization is None else [(b"authorization", authorization.encode())]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": headers, "scheme": scheme}, b"")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_taken_in_any_case(scheme: str) -> None:
    principal = guard_with().guard(request_with(f"{scheme} tcs_live_all"), Scope.MANAGE)
    assert (principal.organisation_id, principal.environment) == (ORGANISATION, Environment.LIVE)


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic tcs_live_all", "tcs_live_all", "Bearer tcs_live_al"]
)
def test_without_a_known_key_nobody_gets_in(authorization: str | None) -> None:
    with pytest.raises(NotAuthenticated) as refused:
        guard_with().guard(request_with(authorization), Scope.READ)
    assert refused.value.detail == "Unauthorized"


def test_a_key_without_the_scope_is_known_but_not_permitted() -> None:
    with pytest.raises(NotPermitted):
        guard_with().guard(request_with("Bearer tcs_test_read"), Scope.INGEST)


def test_requests_over_the_limit_are_told_when_to_come_again() -> None:
    guard = guard_with(Plan.FREE)
    for _ in range(2):
        guard.guard(request_with("Bearer tcs_live_all"), Scope.INGEST)
    with pytest.raises(RateLimited) as refused:
        guard.guard(request_with("Bearer tcs_live_all"), Scope.INGEST)
    assert (refused.value.detail, refused.value.retry_after_s) == ("Rate limit exceeded", 60.0)
    guard.guard(request_with("Bearer tcs_live_all"), Scope.READ)


def test_a_request_that_is_not_permitted_counts_all_the_same() -> None:
    guard = guard_with(Plan.FREE)
    with pytest.raises(NotPermitted):
        guard.guard(request_with("Bearer tcs_test_read"), Scope.MANAGE)
    with pytest.raises(RateLimited):
        guard.guard(request_with("Bearer tcs_live_all"), Scope.READ)


def test_every_answer_carries_the_security_headers_and_the_requests_own_allowance() -> None:
    guard = guard_with(Plan.FREE)
    request, response = request_with("Bearer tcs_live_all"), Response(status=200)
    guard.guard(request, Scope.INGEST)
    guard.finish_ingest(request, response)
    assert dict(response.headers) == {
        b"x-content-type-options": b"nosniff",
        b"x-frame-options": b"DENY",
        b"cache-control": b"no-store",
        b"x-ratelimit-limit": b"2",
        b"x-ratelimit-remaining": b"1",
        b"x-ratelimit-reset": b"1700000060",
    }


@pytest.mark.parametrize(("ingest", "limit"), [(True, b"10000"), (False, b"1000")])
def test_an_answer_to_nobody_shows_the_settings_figure(ingest: bool, limit: bytes) -> None:
    guard, response = guard_with(Plan.FREE), Response(status=401)
    finish = guard.finish_ingest if ingest else guard.finish
    finish(request_with(None), response)
    assert dict(response.headers)[b"x-ratelimit-limit"] == limit


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_strict_transport_security_is_said_over_tls_alone(scheme: str) -> None:
    response = Response(status=200)
    guard_with().finish(request_with(None, scheme=scheme), response)
    said = dict(response.headers).get(b"strict-transport-security")
    assert said == (b"max-age=63072000; includeSubDomains; preload" if scheme == "https" else None)


def test_headers_are_not_added_to_a_list_that_answers_share() -> None:
    shared = [(b"content-type", b"application/json")]
    guard_with().finish(request_with(None), Response(status=200, headers=shared))
    assert shared == [(b"content-type", b"application/json")]
