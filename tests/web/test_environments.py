"""A key sees and moves the half of its environment: each route with a key of one half and things of the other."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from gateway import Gateway
from surface import OPEN, SURFACE
from tenants import Tenant, as_json, incident, signed

SINCE = {"since": "2020-01-01T00:00:00Z"}
LATE = {"event_type": "order.late"}
_LOOKS_MAX = 4000


@dataclass(frozen=True, slots=True)
class Shared:
    """What an organisation's halves have together.

    Attributes:
        failing: a destination whose receiver always fails; it retries events of the type ``user.created``.
        brief: an endpoint whose receiver always fails, and that is never tried again.
    """

    channel: str
    failing: str
    brief: str
    secret: str


@dataclass(frozen=True, slots=True)
class Half:
    """One environment of an organisation, with what it has; the names are those that the cases below use."""

    tenant: Tenant
    shared: Shared
    event: str
    missed: str
    incident: str
    delivery: str
    past: str
    job: str
    tx_key: str
    key: str

    @property
    def ids(self) -> tuple[str, ...]:
        """Everything that lists of this half may show and those of the other may not."""
        return self.event, self.missed[4:], self.incident, self.delivery, self.past, self.job, self.tx_key

    def view(self) -> list[Any]:
        """Return all that stands here, as far as nothing but a request moves it."""
        delivery = self.tenant.get(f"/api/v1/deliveries/{self.delivery}")
        transactions = self.tenant.get("/api/v1/transactions")
        events = sorted(each["id"] for each in self.tenant.get("/api/v1/events")["events"])
        past = self.tenant.get("/events/v2/history/webhooks/orders")
        shown = [self.tenant.get(f"/api/v1/{path}") for path in (f"incidents/{self.incident}", f"jobs/{self.job}")]
        return [delivery["status"], transactions, events, [each["status"] for each in past], *shown]


def _shared(live: Tenant, receiver_url: str) -> Shared:
    failing = {"name": "failing", "transport": "webhook", "address": {"url": f"{receiver_url}/status/503"}}
    brief = live.endpoint(f"{receiver_url}/status/503")
    patience: dict[str, Any] = {"retry": {"schedule_s": []}}
    assert live.ask("PATCH", f"/api/v1/destinations/{brief['id']}", patience).status == 200
    webhook = {"event": "order-paid", "url": f"{receiver_url}/status/503"}
    live.put("/events/v2/projects/shop/webhooks/orders", webhook)
    return Shared(
        channel=live.channel(),
        failing=live.post("/api/v1/destinations", failing | {"filter": {"types": ["user.created"]}})["id"],
        brief=brief["id"],
        secret=brief["secret"],
    )


def _half(tenant: Tenant, manager: Tenant, environment: str, shared: Shared) -> Half:
    opened = tenant.post("/event/create", incident(shared.channel))["data"]["event_id"]
    event = tenant.post("/emit", {"event": "user.created", "payload": {"secret": environment}})["key"]
    tenant.post("/init", {"key": event, "txKey": f"worker-{environment}"})
    tenant.post("/events/v2/projects/shop/events/order-paid", {"order": 1})
    body = as_json(LATE | {"half": environment})
    missed = tenant.post(f"/e/{shared.brief}", body, signed(shared.secret, body))["id"]
    _wait_for(tenant, f"destination={shared.brief}&status=failed")
    _wait_for(tenant, f"destination={shared.failing}&status=retrying")
    name = {"name": environment, "environment": environment}
    return Half(
        tenant=tenant,
        shared=shared,
        event=event,
        missed=missed,
        incident=opened,
        delivery=tenant.get(f"/api/v1/deliveries?destination={shared.failing}")["deliveries"][0]["id"],
        past=tenant.get("/events/v2/history/webhooks/orders")[0]["id"],
        job=tenant.post("/api/v1/replays", {"filter": {"type": "nothing"}})["id"],
        tx_key=f"worker-{environment}",
        key=manager.post("/api/v1/keys", name)["id"],
    )


def _is_over(half: Half) -> bool:
    state: str = half.tenant.get(f"/api/v1/jobs/{half.job}")["state"]
    return state == "finished"


def _until(condition: Callable[[], Any]) -> None:
    for _ in range(_LOOKS_MAX):
        if condition():
            return
    pytest.fail("it did not come about")


def _wait_for(tenant: Tenant, query: str) -> None:
    _until(lambda: tenant.get(f"/api/v1/deliveries?{query}")["deliveries"])


@pytest.fixture(name="halves", scope="module")
def _halves(gateway: Gateway) -> dict[str, Half]:
    names = gateway.new_organisation()
    live, test = (Tenant(gateway.process, names[name]) for name in ("key", "test_key"))
    shared = _shared(live, gateway.receiver_url)
    halves = {name: _half(tenant, live, name, shared) for name, tenant in (("live", live), ("test", test))}
    for half in halves.values():
        _until(partial(_is_over, half))
    return halves


both_ways = pytest.mark.parametrize(("mine", "others"), [("test", "live"), ("live", "test")])

ONE: dict[str, tuple[str, Any]] = {
    # A route, its path with the other half's id, and a body. What is there for the other half is not for this one.
    "POST /event/update": ("/event/update", {"event_id": "{incident}"}),
    "POST /event/close": ("/event/close", {"event_id": "{incident}"}),
    "POST /update": (
        "/update",
        {"key": "{event}", "eventName": "user.created", "txKey": "worker", "txState": "failed"},
    ),
    "POST /init": ("/init", {"key": "{event}", "txKey": "worker"}),
    "POST /transact": ("/transact", {"key": "{event}", "txKey": "{tx_key}", "state": "failed"}),
    "POST /events/v2/history/webhooks/{name}/{id}/cancel": ("/events/v2/history/webhooks/orders/{past}/cancel", None),
    "GET /api/v1/events/{event_id}": ("/api/v1/events/{event}", None),
    "GET /api/v1/events/{event_id}/data": ("/api/v1/events/{event}/data", None),
    "POST /api/v1/events/{event_id}/replay": ("/api/v1/events/{event}/replay", None),
    "GET /api/v1/deliveries/{delivery_id}": ("/api/v1/deliveries/{delivery}", None),
    "POST /api/v1/deliveries/{delivery_id}/cancel": ("/api/v1/deliveries/{delivery}/cancel", None),
    "POST /api/v1/deliveries/{delivery_id}/retry": ("/api/v1/deliveries/{delivery}/retry", None),
    "GET /api/v1/incidents/{incident_id}": ("/api/v1/incidents/{incident}", None),
    "GET /api/v1/jobs/{job_id}": ("/api/v1/jobs/{job}", None),
    "POST /api/v1/jobs/{job_id}/cancel": ("/api/v1/jobs/{job}/cancel", None),
}

LISTS: dict[str, tuple[str, Any]] = {
    # A route that shows things of the half that asks, and not of the other one.
    "POST /query": ("/query", {"eventName": "user.created", "txKey": "mailer", "since": 0}),
    "GET /events/v2/history/webhooks/{name}": ("/events/v2/history/webhooks/orders", None),
    "GET /api/v1/events": ("/api/v1/events", None),
    "GET /api/v1/deliveries": ("/api/v1/deliveries", None),
    "GET /api/v1/incidents": ("/api/v1/incidents", None),
    "GET /api/v1/jobs": ("/api/v1/jobs", None),
    "GET /api/v1/transactions": ("/api/v1/transactions", None),
}

COUNTS: dict[str, tuple[str, Any, Any]] = {
    # A route that tells how much it is about: as much as there is in either half, never the sum of both.
    "POST /api/v1/replays": ("/api/v1/replays", {"filter": {"type": "user.created"}, "dry_run": True}, {"count": 1}),
    "POST /api/v1/destinations/{destination_id}/recover": (
        "/api/v1/destinations/{brief}/recover?dry_run=true",
        SINCE,
        {"count": 1},
    ),
    "POST /api/v1/endpoints/{endpoint_id}/recover": ("/api/v1/endpoints/{brief}/recover", SINCE, {"count": 1}),
}

ELSEWHERE = {
    # Tried below, by a test of its own.
    "GET /api/v1/stats",
    "POST /api/v1/keys",
    "GET /api/v1/keys",
    "DELETE /api/v1/keys/{key_id}",
    "PATCH /api/v1/orgs",
    "POST /auth/v1/service-jwt",
    # Has no end: tried in acceptance/test_stream.py.
    "GET /api/v1/stream",
}

NEW = {
    # Makes something new, of the environment of the key.
    "POST /event/create",
    "POST /message",
    "GET /message",
    "POST /api/v1/event",
    "POST /api/v1/events",
    "POST /emit",
    "POST /events/v2/projects/{project}/events/{event}",
    "POST /e/{endpoint_id}",
    "POST /api/v1/e/{endpoint_id}",
    "POST /api/v1/cloudevents",
    "POST /api/v1/destinations/{destination_id}/test",
    "POST /api/v1/endpoints/{endpoint_id}/test",
}

SHARED = (
    # What docs/security.md says is of both halves: where events go, who is told, and the organisation itself.
    r"/device/|/channel/|/messages/|/gateway/profile|/get-full-event-name"
    r"|/events/v2/projects/{project}/webhooks|/api/v1/(destinations|endpoints|channels|categories|account|usage|orgs"
    r"|audit|organisations|service-keys)"
)


def test_every_route_is_in_one_of_the_tables() -> None:
    named = [*ONE, *LISTS, *COUNTS, *ELSEWHERE, *NEW]
    assert len(named) == len(set(named))
    left = {str(each): each.path for each in SURFACE if each.scope != OPEN and str(each) not in named}
    assert [route for route, path in left.items() if not re.match(SHARED, path)] == []
    assert set(named) <= {str(each) for each in SURFACE}


def filled(value: Any, half: Half) -> Any:
    """Return a path or a body with ids of a half in their places."""
    if isinstance(value, str):
        things = {name: getattr(half, name) for name in ("event", "incident", "delivery", "past", "job", "tx_key")}
        return value.format(brief=half.shared.brief, **things)
    if isinstance(value, dict):
        return {name: filled(each, half) for name, each in value.items()}
    return value


@both_ways
@pytest.mark.parametrize("route", ONE)
def test_a_thing_of_the_other_half_is_not_there(halves: dict[str, Half], route: str, mine: str, others: str) -> None:
    half, other = halves[mine], halves[others]
    path, body = filled(ONE[route][0], other), filled(ONE[route][1], other)
    if "event_id" in (body or ()):
        body = incident(half.shared.channel, **body)
        del body["title"]
    before = other.view()
    answer = half.tenant.ask(route.partition(" ")[0], path, body)
    assert answer.status == 404, answer
    assert other.view() == before


@both_ways
@pytest.mark.parametrize("route", LISTS)
def test_lists_show_one_half(halves: dict[str, Half], route: str, mine: str, others: str) -> None:
    path, body = LISTS[route]
    answer = halves[mine].tenant.ask(route.partition(" ")[0], path, body)
    assert answer.status == 200, answer
    text = answer.body.decode()
    assert any(each in text for each in halves[mine].ids)
    assert [each for each in halves[others].ids if each in text] == []


@pytest.mark.parametrize("mine", ["live", "test"])
@pytest.mark.parametrize("route", COUNTS)
def test_counts_are_of_one_half(halves: dict[str, Half], route: str, mine: str) -> None:
    half = halves[mine]
    path, body, expected = COUNTS[route]
    found = half.tenant.post(filled(path, half), body)
    assert {name: found[name] for name in expected} == expected
    if "dry_run" not in path + str(body):
        _wait_for(half.tenant, f"destination={half.shared.brief}&status=failed")


@pytest.mark.parametrize("mine", ["live", "test"])
def test_figures_are_of_one_half(halves: dict[str, Half], mine: str) -> None:
    stats = halves[mine].tenant.get("/api/v1/stats")
    # Each half has one that was given up; all others may be under way.
    assert (stats["events"]["EXPIRED"], stats["deliveries"]["expired"]) == (1, 1)


# -- what opens the other half -----------------------------------------------------------------------------


def test_a_live_key_sees_all_keys_and_a_test_key_the_test_keys(halves: dict[str, Half]) -> None:
    live, test = halves["live"], halves["test"]
    seen = {name: {each["id"] for each in half.tenant.get("/api/v1/keys")["keys"]} for name, half in halves.items()}
    assert {live.key, test.key} <= seen["live"]
    assert test.key in seen["test"]
    assert live.key not in seen["test"]


def test_a_test_key_neither_makes_nor_revokes_live_keys(halves: dict[str, Half]) -> None:
    live, test = halves["live"], halves["test"]
    for body in ({"name": "n"}, {"name": "n", "environment": "live"}):
        refused = test.tenant.ask("POST", "/api/v1/keys", body)
        assert refused.status == 403
        assert set(refused.json) == {"detail"}
    assert test.tenant.ask("DELETE", f"/api/v1/keys/{live.key}").status == 404
    assert live.key in {each["id"] for each in live.tenant.get("/api/v1/keys")["keys"]}


@pytest.mark.parametrize("manager", ["live", "test"])
def test_either_key_makes_and_revokes_test_keys(halves: dict[str, Half], manager: str) -> None:
    tenant = halves[manager].tenant
    made = tenant.post("/api/v1/keys", {"name": "n", "environment": "test"})
    assert made["environment"] == "test"
    assert tenant.ask("DELETE", f"/api/v1/keys/{made['id']}").status == 200


def test_a_test_key_mints_no_tokens_and_says_not_who_does(halves: dict[str, Half]) -> None:
    live, test = halves["live"].tenant, halves["test"].tenant
    refused = test.ask("POST", "/auth/v1/service-jwt", {})
    assert refused.status == 403
    assert refused.json["errorCode"] == "live_key_required"
    # A token is for live events.
    assert live.ask("POST", "/auth/v1/service-jwt", {}).status == 201

    issuer = {"name": "mine", "jwks_url": "https://example.com/jwks"}
    assert test.ask("PATCH", "/api/v1/orgs", issuer).status == 403
    assert live.get("/api/v1/orgs")["jwks_url"] is None
    assert live.get("/api/v1/orgs")["name"] != "mine"
    assert test.ask("PATCH", "/api/v1/orgs", {"name": "theirs"}).json["name"] == "theirs"
