"""What no recorded exchange can show: races, deliveries that are being sent, and faults of ours."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from starlette.types import Message

from tocsin.core.delivery import Lease
from tocsin.core.destination import Destination, Transport
from tocsin.core.errors import Unavailable
from tocsin.core.identifiers import DestinationId, IdSequence, OrganisationId
from tocsin.core.organisation import Organisation
from tocsin.dialects.nativeframe import NativeFrame, NativeFrameLimits
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.conditions import ConditionLimits, Conditions
from tocsin.pipeline.destinations import DestinationBounds, Destinations
from tocsin.pipeline.ingest import Ingest, IngestLimits
from tocsin.pipeline.keys import Keys
from tocsin.pipeline.vault import Vault
from tocsin.telemetry import Metrics
from tocsin.transports.addresses import AddressPolicy, UrlChecks
from tocsin.web.auth import KeyRing
from tocsin.web.http import Endpoint
from tocsin.web.tokens import TokenLimits, Tokens

NOW_MS = 1_800_000_000_000
ORGANISATION = OrganisationId(bytes([1]) * 16)
WEBHOOK = "/events/v2/projects/{project}/webhooks/{name}"
EVENT = "/events/v2/projects/{project}/events/{event}"
HISTORY = "/events/v2/history/webhooks/{name}"


class HandClock:
    """Stands still."""

    def now_ms(self) -> int:
        return NOW_MS

    def monotonic_s(self) -> float:
        return NOW_MS / 1000


class NoSender:
    """Leaves every delivery to be claimed."""

    def reserve(self, destination: Destination) -> bool:
        return False

    def release(self, destination_id: DestinationId) -> None:
        raise AssertionError("nothing was reserved")

    def lease_until_ms(self) -> int:
        return 0

    def take(self, leases: Sequence[Lease]) -> None:
        raise AssertionError("nothing was leased")


class NoKeySets:
    """There are no external key sets."""

    async def keys(self, url: str) -> list[dict[str, Any]] | None:
        return None


class House:
    """The dialect over a real engine."""

    def __init__(self, directory: Path, *, debug: bool) -> None:
        clock = HandClock()
        counter = itertools.count()

        def entropy(size: int) -> bytes:
            return next(counter).to_bytes(size, "big")

        ids = IdSequence(entropy)
        vault = Vault(bytes(32), entropy)
        self.engine = SqliteEngine(SqliteSettings(directory=directory), clock=clock, on_fatal=lambda _: None)
        self.catalog = Catalog(self.engine)
        self.keys = Keys(catalog=self.catalog, clock=clock, ids=ids, entropy=entropy)
        self.key = ""
        ingest = Ingest(
            engine=self.engine,
            catalog=self.catalog,
            conditions=Conditions(metrics=Metrics(), clock=clock, limits=ConditionLimits()),
            sender=NoSender(),
            clock=clock,
            ids=ids,
            transports=frozenset({Transport.WEBHOOK}),
            limits=IngestLimits(),
        )
        self.destinations = Destinations(
            catalog=self.catalog,
            ingest=ingest,
            vault=vault,
            urls=UrlChecks(AddressPolicy((ip_network("127.0.0.0/8"),))),
            clock=clock,
            ids=ids,
            entropy=entropy,
            bounds=DestinationBounds(),
        )
        dialect = NativeFrame(
            keys=KeyRing(self.catalog),
            tokens=Tokens(
                catalog=self.catalog, vault=vault, clock=clock, ids=ids, jwks=NoKeySets(), limits=TokenLimits()
            ),
            catalog=self.catalog,
            engine=self.engine,
            ingest=ingest,
            destinations=self.destinations,
            clock=clock,
            limits=NativeFrameLimits(),
            debug=debug,
        )
        self._endpoints = {
            (route.method, route.path): Endpoint(route, body_deadline_s=1, report=lambda *_: None)
            for route in dialect.routes()
        }

    async def call(
        self, method: str, path: str, body: Any = None, *, query: str = "", **parameters: str
    ) -> tuple[int, Any]:
        """Return status and body of an answer, through the route's own endpoint."""
        sent: list[Message] = []
        content = b"" if body is None else json.dumps(body).encode()

        async def receive() -> Message:
            return {"type": "http.request", "body": content}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path.format(**parameters),
            "path_params": parameters,
            "query_string": query.encode(),
            "headers": [(b"authorization", f"Bearer {self.key}".encode())],
        }
        await self._endpoints[method, path](scope, receive, send)
        answer = b"".join(message.get("body", b"") for message in sent)
        return sent[0]["status"], json.loads(answer) if answer else None


def _play(directory: Path, scene: Callable[[House], Awaitable[None]], *, debug: bool = False) -> None:
    async def play() -> None:
        house = House(directory, debug=debug)
        await house.engine.open()
        try:
            await house.catalog.save(Organisation(id=ORGANISATION, name="x", created_ms=NOW_MS))
            house.key = (await house.keys.create(ORGANISATION, "x")).text
            await scene(house)
        finally:
            await house.engine.close()

    asyncio.run(play())


def _config(**changes: Any) -> dict[str, Any]:
    return {"event": "start", "url": "http://127.0.0.1:9/", **changes}


def test_a_delivery_that_is_being_sent_is_not_cancelled(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.call("PUT", WEBHOOK, _config(), project="pvc", name="hook")
        await house.call("POST", EVENT, {}, project="pvc", event="start")
        _, (new,) = await house.call("GET", HISTORY, name="hook")
        assert (new["status"], new["attempts"]) == ("NEW", 0)
        leases = await house.engine.claim(limit=1, per_destination=1, lease_until_ms=NOW_MS + 60_000)
        assert len(leases) == 1
        _, (sending,) = await house.call("GET", HISTORY, name="hook")
        assert (sending["status"], sending["attempts"]) == ("IN_PROCESS", 0)
        status, refusal = await house.call("POST", f"{HISTORY}/{{id}}/cancel", name="hook", id=new["id"])
        assert (status, refusal["errorCode"]) == (409, "delivery_in_flight")

    _play(tmp_path, scene)


def test_racing_cancellations_of_one_delivery_succeed_once(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.call("PUT", WEBHOOK, _config(), project="pvc", name="hook")
        await house.call("POST", EVENT, {}, project="pvc", event="start")
        _, (new,) = await house.call("GET", HISTORY, name="hook")
        cancel = f"{HISTORY}/{{id}}/cancel"
        answers = await asyncio.gather(*(house.call("POST", cancel, name="hook", id=new["id"]) for _ in range(8)))
        assert sorted(status for status, _ in answers) == [200] + [409] * 7

    _play(tmp_path, scene)


def test_racing_puts_of_one_name_make_one_webhook(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        answers = await asyncio.gather(
            *(house.call("PUT", WEBHOOK, _config(maxAttempts=n), project="pvc", name="hook") for n in range(1, 9))
        )
        statuses = [status for status, _ in answers]
        assert statuses.count(201) == 1
        # The others replaced it one after another, or were told that somebody else just had.
        assert set(statuses) <= {200, 201, 409}
        _, webhooks = await house.call("GET", "/events/v2/projects/{project}/webhooks", project="pvc")
        assert len(webhooks) == 1

    _play(tmp_path, scene)


def test_racing_puts_of_one_name_in_two_projects_leave_it_with_the_first(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        answers = await asyncio.gather(
            *(house.call("PUT", WEBHOOK, _config(), project=project, name="hook") for project in ("a", "b"))
        )
        assert [status for status, _ in answers] == [201, 409]
        assert answers[1][1]["errorCode"] == "name_taken"

    _play(tmp_path, scene)


def test_a_put_keeps_the_signing_secret(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        _, created = await house.call("PUT", WEBHOOK, _config(), project="pvc", name="hook")
        await house.call("PUT", WEBHOOK, _config(maxAttempts=9), project="pvc", name="hook")
        (webhook,) = house.catalog.destinations(ORGANISATION)
        assert house.destinations.secrets_of(webhook) == [created["secret"]]

    _play(tmp_path, scene)


def test_racing_repeats_of_an_event_store_it_once(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        own = "166ae306-50ff-11e9-8647-d663bd873d93"
        await house.call("PUT", WEBHOOK, _config(), project="pvc", name="hook")
        place = {"query": f"id={own}", "project": "pvc", "event": "start"}
        answers = await asyncio.gather(*(house.call("POST", EVENT, {"n": n % 2}, **place) for n in range(8)))
        # The first one's payload counts; the four with the other one are refused.
        assert [status for status, _ in answers] == [202, 409] * 4
        assert {answer["id"] for status, answer in answers if status == 202} == {own}
        _, rows = await house.call("GET", HISTORY, name="hook")
        assert [row["source"]["payload"] for row in rows] == [{"n": 0}]

    _play(tmp_path, scene)


def test_a_store_that_does_not_answer_is_told_in_the_published_form(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.engine.close()
        status, refusal = await house.call("POST", EVENT, {}, project="pvc", event="start")
        assert status == 503
        assert refusal.keys() == {"message", "errorCode", "invalidFields", "internal"}
        assert refusal["internal"] is None

    _play(tmp_path, scene)


def test_debug_mode_tells_the_cause(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.engine.close()
        _, refusal = await house.call("POST", EVENT, {}, project="pvc", event="start")
        assert refusal["errorCode"] == "unavailable"
        assert refusal["internal"].startswith(f"POST /events/v2/projects/pvc/events/start: {Unavailable.__name__}: ")

    _play(tmp_path, scene, debug=True)
