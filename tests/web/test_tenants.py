"""Another organisation's id is answered exactly like one that nobody has, on every route that takes an id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from gateway import Answer, Gateway
from surface import SURFACE
from tenants import PASSWORD, Tenant, as_json, incident, signed, tenant_of

SINCE = {"since": "2020-01-01T00:00:00Z"}
PROJECT = "shop"
WEBHOOK = "orders"
ORDER = as_json({"event_type": "order.created"})


@dataclass(frozen=True, slots=True)
class Ids:
    """What an organisation has, by the names that the cases below use."""

    channel: str
    incident: str
    category: str
    destination: str
    endpoint: str
    secret: str
    event: str
    delivery: str
    key: str
    service_key: str
    webhook: str
    past: str
    device: str
    job: str


def make_one_of_everything(tenant: Tenant, receiver_url: str) -> Ids:
    """Return the ids of an organisation's things."""
    channel = tenant.channel()
    tenant.category()
    destination = tenant.webhook(f"{receiver_url}/status/503")["id"]
    endpoint = tenant.endpoint(f"{receiver_url}/endpoint")
    webhook = {"event": "order-paid", "url": f"{receiver_url}/status/503"}
    tenant.put(f"/events/v2/projects/{PROJECT}/webhooks/{WEBHOOK}", webhook)
    opened = tenant.post("/event/create", incident(channel))["data"]
    tenant.post(f"/e/{endpoint['id']}", ORDER, signed(endpoint["secret"], ORDER))
    tenant.post(f"/events/v2/projects/{PROJECT}/events/order-paid", {"order": 1})
    event = tenant.post("/emit", {"event": "user.created", "payload": {"id": 7}})["key"]
    tenant.post("/init", {"key": event, "txKey": "worker"})
    device = tenant.post("/device/register", {"platform": "ios"})["data"]["device_key"]
    subscription = {"device_key": device, "channel_id": channel, "password": PASSWORD}
    tenant.post("/channel/subscribe", subscription)
    tenant.post("/message", {"channel_id": channel, "password": PASSWORD, "title": "hello"})
    return Ids(
        channel=channel,
        incident=opened["event_id"],
        category="bug",
        destination=destination,
        endpoint=endpoint["id"],
        secret=endpoint["secret"],
        event=event,
        delivery=tenant.get("/api/v1/deliveries")["deliveries"][0]["id"],
        key=tenant.post("/api/v1/keys", {"name": "second"})["id"],
        service_key=tenant.post("/api/v1/service-keys", {})["kid"],
        webhook=WEBHOOK,
        past=tenant.get(f"/events/v2/history/webhooks/{WEBHOOK}")[0]["id"],
        device=device,
        job=tenant.post("/api/v1/replays", {"filter": {"type": "nothing"}})["id"],
    )


def changed(identifier: str) -> str:
    """Return an id of the same form that nobody has."""
    if identifier.isalpha() and identifier.islower():
        return identifier[::-1]
    swapped = "1" if identifier[-4] != "1" else "2"
    return identifier[:-4] + swapped + identifier[-3:]


CASES: dict[str, tuple[str, str, Any]] = {
    # A route, the name of the id it takes, and a body; "{}" in path or body stands for the id.
    "POST /event/create": ("channel", "/event/create", incident("{}")),
    "POST /event/update": ("incident", "/event/update", {"event_id": "{}"}),
    "POST /event/close": ("incident", "/event/close", {"event_id": "{}"}),
    "POST /message": ("channel", "/message", {"channel_id": "{}", "password": PASSWORD, "title": "a"}),
    "GET /message": ("channel", f"/message?channel_id={{}}&password={PASSWORD}&title=a", None),
    "GET /channel/exists": ("channel", "/channel/exists?channel_id={}", None),
    "POST /channel/rename": (
        "channel",
        "/channel/rename",
        {"channel_id": "{}", "channel_name": "mine", "password": PASSWORD},
    ),
    "POST /channel/subscribe": (
        "device",
        "/channel/subscribe",
        {"device_key": "{}", "channel_name": "mine", "password": PASSWORD},
    ),
    "POST /channel/unsubscribe": ("channel", "/channel/unsubscribe", {"channel_id": "{}", "device_key": "own"}),
    "POST /channel/sync": ("device", "/channel/sync", {"device_key": "{}", "channels": []}),
    "POST /channel/device": ("device", "/channel/device", {"device_key": "{}", "channel_type": "private"}),
    "POST /channel/device/delete": (
        "device",
        "/channel/device/delete",
        {"device_key": "{}", "channel_type": "private"},
    ),
    "POST /messages/pull": ("device", "/messages/pull", {"device_key": "{}"}),
    "POST /messages/ack": ("device", "/messages/ack", {"device_key": "{}", "delivery_id": "a"}),
    "POST /update": (
        "event",
        "/update",
        {"key": "{}", "eventName": "user.created", "txKey": "worker", "txState": "failed"},
    ),
    "POST /init": ("event", "/init", {"key": "{}", "txKey": "worker"}),
    "POST /transact": ("event", "/transact", {"key": "{}", "txKey": "worker", "state": "failed"}),
    "GET /events/v2/history/webhooks/{name}": ("webhook", "/events/v2/history/webhooks/{}", None),
    "POST /events/v2/history/webhooks/{name}/{id}/cancel": (
        "past",
        "/events/v2/history/webhooks/mine/{}/cancel",
        None,
    ),
    "GET /events/v2/projects/{project}/webhooks/{name}": (
        "webhook",
        f"/events/v2/projects/{PROJECT}/webhooks/{{}}",
        None,
    ),
    "DELETE /events/v2/projects/{project}/webhooks/{name}": (
        "webhook",
        f"/events/v2/projects/{PROJECT}/webhooks/{{}}",
        None,
    ),
    "POST /e/{endpoint_id}": ("endpoint", "/e/{}", ORDER),
    "POST /api/v1/e/{endpoint_id}": ("endpoint", "/api/v1/e/{}", ORDER),
    "GET /api/v1/events": ("endpoint", "/api/v1/events?endpoint_id={}", None),
    "GET /api/v1/events/{event_id}": ("event", "/api/v1/events/{}", None),
    "GET /api/v1/events/{event_id}/data": ("event", "/api/v1/events/{}/data", None),
    "POST /api/v1/events/{event_id}/replay": ("event", "/api/v1/events/{}/replay", None),
    "GET /api/v1/endpoints/{endpoint_id}": ("endpoint", "/api/v1/endpoints/{}", None),
    "PATCH /api/v1/endpoints/{endpoint_id}": ("endpoint", "/api/v1/endpoints/{}", {"enabled": False}),
    "DELETE /api/v1/endpoints/{endpoint_id}": ("endpoint", "/api/v1/endpoints/{}", None),
    "POST /api/v1/endpoints/{endpoint_id}/rotate-secret": ("endpoint", "/api/v1/endpoints/{}/rotate-secret", None),
    "POST /api/v1/endpoints/{endpoint_id}/test": ("endpoint", "/api/v1/endpoints/{}/test", None),
    "POST /api/v1/endpoints/{endpoint_id}/recover": ("endpoint", "/api/v1/endpoints/{}/recover", SINCE),
    "DELETE /api/v1/keys/{key_id}": ("key", "/api/v1/keys/{}", None),
    "DELETE /api/v1/service-keys/{service_key_id}": ("service_key", "/api/v1/service-keys/{}", None),
    "GET /api/v1/categories/{name}/preview": ("category", "/api/v1/categories/{}/preview?channel=telegram", None),
    "PATCH /api/v1/categories/{name}": ("category", "/api/v1/categories/{}", {"color": "#000000"}),
    "DELETE /api/v1/categories/{name}": ("category", "/api/v1/categories/{}", None),
    "PATCH /api/v1/channels/{channel_id}": ("channel", "/api/v1/channels/{}", {"name": "mine"}),
    "DELETE /api/v1/channels/{channel_id}": ("channel", "/api/v1/channels/{}", None),
    "GET /api/v1/deliveries": ("destination", "/api/v1/deliveries?destination={}", None),
    "GET /api/v1/deliveries/{delivery_id}": ("delivery", "/api/v1/deliveries/{}", None),
    "POST /api/v1/deliveries/{delivery_id}/cancel": ("delivery", "/api/v1/deliveries/{}/cancel", None),
    "POST /api/v1/deliveries/{delivery_id}/retry": ("delivery", "/api/v1/deliveries/{}/retry", None),
    "GET /api/v1/destinations/{destination_id}": ("destination", "/api/v1/destinations/{}", None),
    "PATCH /api/v1/destinations/{destination_id}": ("destination", "/api/v1/destinations/{}", {"enabled": False}),
    "DELETE /api/v1/destinations/{destination_id}": ("destination", "/api/v1/destinations/{}", None),
    **{
        f"POST /api/v1/destinations/{{destination_id}}/{action}": (
            "destination",
            f"/api/v1/destinations/{{}}/{action}",
            SINCE if action == "recover" else None,
        )
        for action in ("pause", "resume", "recover", "rotate-secret", "test")
    },
    "POST /api/v1/destinations/{destination_id}/telegram-link": (
        "destination",
        "/api/v1/destinations/{}/telegram-link",
        None,
    ),
    "GET /api/v1/destinations/{destination_id}/telegram-link": (
        "destination",
        "/api/v1/destinations/{}/telegram-link",
        None,
    ),
    "GET /api/v1/incidents/{incident_id}": ("incident", "/api/v1/incidents/{}", None),
    "GET /api/v1/incidents": ("channel", "/api/v1/incidents?channel={}", None),
    "GET /api/v1/jobs/{job_id}": ("job", "/api/v1/jobs/{}", None),
    "POST /api/v1/jobs/{job_id}/cancel": ("job", "/api/v1/jobs/{}/cancel", None),
    "POST /api/v1/replays": ("destination", "/api/v1/replays", {"filter": {"destination": "{}"}, "dry_run": True}),
    "GET /api/v1/audit": ("destination", "/api/v1/audit?subject={}", None),
}

NO_IDS = {
    # The link itself is the right to it, and is sealed; see test_unsubscribe.
    "GET /unsubscribe/{token}",
    "POST /unsubscribe/{token}",
    # Nothing but the caller's own things can be named here. A project of Native Frame's is no thing: each
    # organisation has all of them, and what is put there is its own.
    "GET /",
    "GET /healthz",
    "GET /readyz",
    "GET /health",
    "GET /ready",
    "GET /metrics",
    "GET /gateway/profile",
    "POST /device/register",
    "POST /channel/device/provider-token/retire",
    "POST /api/v1/event",
    "POST /api/v1/events",
    "POST /emit",
    "POST /query",
    "POST /get-full-event-name",
    "POST /events/v2/projects/{project}/events/{event}",
    "GET /events/v2/projects/{project}/webhooks",
    "PUT /events/v2/projects/{project}/webhooks/{name}",
    "GET /auth/v1/jwks",
    "GET /api/v1/openapi.json",
    "GET /docs/api",
    "GET /docs/api/page.css",
    "GET /docs/api/page.js",
    "POST /auth/v1/service-jwt",
    "POST /api/v1/endpoints",
    "GET /api/v1/endpoints",
    "POST /api/v1/keys",
    "GET /api/v1/keys",
    "GET /api/v1/orgs",
    "PATCH /api/v1/orgs",
    "GET /api/v1/stats",
    "GET /api/v1/account",
    "PUT /api/v1/account",
    "POST /api/v1/account/telegram/link",
    "GET /api/v1/account/telegram/link",
    "GET /api/v1/usage",
    "GET /api/v1/categories",
    "POST /api/v1/categories",
    "POST /api/v1/categories/quickstart",
    "GET /api/v1/channels",
    "POST /api/v1/channels",
    "GET /api/v1/destinations",
    "POST /api/v1/destinations",
    "GET /api/v1/organisations",
    "POST /api/v1/organisations",
    # Has no end: whose events it tells of is tried in acceptance/test_stream.py.
    "GET /api/v1/stream",
    "GET /api/v1/transactions",
    "GET /api/v1/service-keys",
    "POST /api/v1/service-keys",
    "GET /api/v1/jobs",
    "POST /api/v1/cloudevents",
}


@dataclass(frozen=True, slots=True)
class World:
    """Two organisations on one gateway.

    Attributes:
        channel, device: the stranger's own, for requests that need one beside the id that is tried.
    """

    owner: Tenant
    stranger: Tenant
    ids: Ids
    channel: str
    device: str

    def owners_view(self) -> list[Any]:
        """Return all that the owner can see of its own things, but for how far deliveries are."""
        paths = (
            "destinations",
            "endpoints",
            "channels",
            "categories",
            "keys",
            "service-keys",
            "incidents",
            "transactions",
            "account",
        )
        shown = [self.owner.get(f"/api/v1/{path}") for path in paths]
        events = self.owner.get("/api/v1/events")["events"]
        shown.append([each["id"] for each in events])
        shown.append(self.owner.get(f"/events/v2/projects/{PROJECT}/webhooks"))
        pulled = self.owner.post("/messages/pull", {"device_key": self.ids.device})
        return [*shown, pulled]


@pytest.fixture(name="world", scope="module")
def _world(gateway: Gateway) -> World:
    owner, stranger = tenant_of(gateway), tenant_of(gateway)
    ids = make_one_of_everything(owner, gateway.receiver_url)
    device = stranger.post("/device/register", {"platform": "ios"})["data"]["device_key"]
    webhook = {"event": "order-paid", "url": f"{gateway.receiver_url}/status/503"}
    stranger.put(f"/events/v2/projects/{PROJECT}/webhooks/mine", webhook)
    return World(owner, stranger, ids, stranger.channel(), device)


def test_every_route_is_in_one_of_the_tables() -> None:
    assert not CASES.keys() & NO_IDS
    assert CASES.keys() | NO_IDS == {str(each) for each in SURFACE}


def filled(value: Any, identifier: str) -> Any:
    """Return a path or body with the id in its place."""
    if isinstance(value, str):
        return value.replace("{}", identifier)
    if isinstance(value, dict):
        return {name: filled(each, identifier) for name, each in value.items()}
    return value


def tried(world: World, who: Tenant, route: str, identifier: str) -> Answer:
    """Return the answer to a case with this id."""
    method = route.partition(" ")[0]
    _, path, body = CASES[route]
    body = filled(body, identifier)
    headers = {}
    if body == ORDER:
        headers = signed(world.ids.secret, ORDER)
    elif "event_id" in (body or ()):
        body = incident(world.channel, **body)
        del body["title"]
    elif (body or {}).get("device_key") == "own":
        body["device_key"] = world.device
    return who.ask(method, filled(path, identifier), body, headers)


def told(answer: Answer, identifier: str) -> tuple[int, dict[str, str], bytes]:
    """Return what an answer tells, but for the id itself and what is drawn anew for each answer."""
    drawn = {"date", "x-request-id", "x-ratelimit-reset", "content-length"}
    headers = {name: value for name, value in answer.headers.items() if name not in drawn}
    body = re.sub(rb'"request_id":"[0-9a-f]{32}"', b"", answer.body)
    return answer.status, headers, body.replace(identifier.encode(), b"<id>")


@pytest.mark.parametrize("route", CASES)
def test_a_foreign_id_is_an_unknown_one(world: World, route: str) -> None:
    mine: str = getattr(world.ids, CASES[route][0])
    nobodys = changed(mine)
    before = world.owners_view()

    foreign = tried(world, world.stranger, route, mine)
    unknown = tried(world, world.stranger, route, nobodys)

    assert told(foreign, mine) == told(unknown, nobodys)
    # Whatever else is asked for was right, so that it is the id that was judged.
    assert foreign.status in (200, 404) or b"device_key_not_found" in foreign.body
    assert world.owners_view() == before


@pytest.mark.parametrize("route", [route for route in CASES if route.startswith("GET ")])
def test_the_owner_is_answered_otherwise(world: World, route: str) -> None:
    mine: str = getattr(world.ids, CASES[route][0])
    own = tried(world, world.owner, route, mine)
    assert told(own, mine) != told(tried(world, world.owner, route, changed(mine)), changed(mine))


@pytest.mark.parametrize(
    "form",
    [
        lambda key: key,
        lambda key: f"evt_{key}",
        lambda key: f"{key[:8]}-{key[8:12]}-{key[12:16]}-{key[16:20]}-{key[20:]}",
    ],
)
def test_no_rendering_of_an_id_opens_it(world: World, form: Any) -> None:
    shown = form(world.ids.event)
    assert world.owner.ask("GET", f"/api/v1/events/{shown}").status == 200
    assert world.stranger.ask("GET", f"/api/v1/events/{shown}").status == 404
