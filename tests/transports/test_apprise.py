"""Apprise sends to a real receiver, by its own JSON service; what it knows of the URL stays with it."""

from __future__ import annotations

import asyncio
import base64
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from leases import made_event, made_lease
from receivers import Answer, Receiver
from tocsin.bootstrap import SystemClock, load_settings
from tocsin.bootstrap.contacts import apprise_transport
from tocsin.core.delivery import Deferred, Delivered, ErrorClass, Outcome, Rejected
from tocsin.core.destination import Destination, Transport
from tocsin.core.event import Dialect, Severity
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DestinationId, OrganisationId
from tocsin.core.incident import IncidentState
from tocsin.settings import SettingsFault
from tocsin.transports.apprise import AppriseTransport, url_fault
from tocsin.transports.apprise_services import AppriseLimits, Services, read_services
from tocsin.transports.protocol import Shipment, Target

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

CANARIES = ("c4nary-user", "c4nary-pass", "c4nary-path", "c4nary-header", "c4nary-query", "c4n")
URL = "json://c4nary-user:c4nary-pass@{}/c4nary-path/c4n?+X-Token=c4nary-header&-key=c4nary-query&retry=5&wait=0"
ELSEWHERE = OrganisationId(b"e" * 16)

TIME_MS = 1_772_793_000_000


class Scene:
    """An open transport with the services ``ops`` and ``other``, both of them the one receiver."""

    def __init__(self, remote: Receiver, transport: AppriseTransport) -> None:
        self.remote = remote
        self.transport = transport

    async def send(self, shipment: Shipment) -> Outcome:
        """Return what an attempt comes to."""
        told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.transport.start(shipment, lambda _, outcome: told.set_result(outcome))
        assert not told.done()
        return await told


def play(scenario: Callable[[Scene], Awaitable[None]], *, for_everybody: bool = False, **limits: int) -> None:
    """Run a scenario."""

    async def main() -> None:
        async with Receiver() as remote, asyncio.timeout(60):
            url = URL.format(f"127.0.0.1:{remote.port}")
            services = Services({"ops": url, "other": url}, for_everybody=for_everybody)
            transport = AppriseTransport(services, clock=SystemClock(), limits=AppriseLimits(**limits))
            await transport.open()
            try:
                await scenario(Scene(remote, transport))
            finally:
                await transport.close()

    asyncio.run(main())


def sent(service: str = "ops", data: bytes = b"{}", **fields: Any) -> Shipment:
    """Return an attempt at telling a category's event."""
    usual: dict[str, Any] = {"organisation_id": DEFAULT_ORGANISATION, "timeout_s": 20.0}
    destination = Destination(
        id=DestinationId(bytes(16)),
        name="phone",
        transport=Transport.APPRISE,
        created_ms=0,
        updated_ms=0,
        address={"service": service},
        **(usual | fields),
    )
    event = made_event(dialect=Dialect.PINGPILOT, type="bug", time_ms=TIME_MS, data=data)
    return Shipment(made_lease(event=event, destination_id=destination.id), Target(destination))


async def threads_ended() -> None:
    """Return once no thread sends, and the event loop knows it."""
    for thread in threading.enumerate():
        if thread.name == "tocsin-apprise":
            await asyncio.to_thread(thread.join, 20.0)
    await asyncio.sleep(0)


def shows_no_secret(told: object) -> bool:
    return not any(canary in repr(told).lower() for canary in CANARIES)


def test_a_message_arrives_as_a_title_and_a_text() -> None:
    async def scenario(scene: Scene) -> None:
        outcome = await scene.send(sent(data=b'{"description":"Checkout fails","fields":{"service":"api","n":3}}'))
        assert isinstance(outcome, Delivered)
        assert outcome.attempt.exchange.request_line == "NOTIFY ops"
        assert shows_no_secret(outcome)
        (request,) = scene.remote.requests
        body = msgspec.json.decode(request.body)
        assert body["title"] == "\U0001f514 Bug"
        assert body["message"] == "Checkout fails\n\nservice: api\nn: 3\n\n2026-03-06T10:30:00.000Z"
        assert body["type"] == "info"
        # Whoever the secrets are for has them.
        assert request.header("Authorization") == f"Basic {base64.b64encode(b'c4nary-user:c4nary-pass').decode()}"
        assert (request.header("X-Token"), request.target) == (
            "c4nary-header",
            "/c4nary-path/c4n?key=c4nary-query",
        )

    play(scenario)


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_a_refusal_is_tried_again_later_and_its_text_holds_no_secret(
    status: int, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(scene: Scene) -> None:
        scene.remote._answer = Answer(status, body=b"c4nary-path is what I do not know")
        with capture_logs() as logs:
            outcome = await scene.send(sent())
        assert isinstance(outcome, Deferred)
        assert outcome.counted
        assert outcome.attempt.error_class is ErrorClass.STATUS
        assert outcome.attempt.error is not None
        assert f"error={status}" in outcome.attempt.error
        # One attempt, whatever the URL asks for.
        assert len(scene.remote.requests) == 1
        assert shows_no_secret((outcome, logs))

    play(scenario)
    shown = capfd.readouterr()
    assert shows_no_secret((shown.out, shown.err))
    # Nobody else hears what Apprise says.
    assert [each for each in caplog.records if each.name.startswith("apprise")] == []


def test_nobody_there_is_told_without_the_address() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.remote.__aexit__(None, None, None)
        outcome = await scene.send(sent())
        assert isinstance(outcome, Deferred)
        assert outcome.attempt.error == "A Connection error occurred sending JSON notification to ***."
        assert shows_no_secret(outcome)

    play(scenario)


def test_an_attempt_that_outlasts_its_deadline_is_abandoned_and_counted() -> None:
    async def scenario(scene: Scene) -> None:
        release = asyncio.Event()
        held: list[asyncio.StreamWriter] = []

        async def drip(writer: asyncio.StreamWriter) -> None:
            held.append(writer)
            writer.write(b"HTTP/1.1 200 OK\r\n")
            while not release.is_set():
                # Never silent for long enough that a limit on reading would end it.
                writer.write(b"X-Filler: a\r\n")
                await asyncio.sleep(0.02)
            writer.write(b"Content-Length: 0\r\n\r\n")
            await writer.drain()

        scene.remote.answers.append(drip)
        late = await scene.send(sent(timeout_s=0.3))
        assert isinstance(late, Deferred)
        assert late.attempt.error_class is ErrorClass.TIMEOUT
        assert late.attempt.error == "no answer within 0.3 s"
        assert scene.transport.abandoned == 1

        kept_back = await scene.send(sent())
        assert isinstance(kept_back, Deferred)
        assert (kept_back.counted, kept_back.retry_after_s) == (False, 10.0)
        assert kept_back.attempt.error == "not sent: earlier attempts at this service have not come back yet"
        assert isinstance(await scene.send(sent("other")), Delivered)
        # Nor is anybody else kept from the same service.
        assert isinstance(await scene.send(sent(organisation_id=ELSEWHERE)), Delivered)
        assert len(held) == 1

        release.set()
        await threads_ended()
        assert scene.transport.abandoned == 0
        assert isinstance(await scene.send(sent()), Delivered)

    play(scenario, for_everybody=True, abandoned_max=1)


def test_as_many_threads_run_as_may() -> None:
    async def scenario(scene: Scene) -> None:
        release = asyncio.Event()

        async def wait(writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            await writer.drain()

        scene.remote.answers.append(wait)
        first = asyncio.get_running_loop().create_task(scene.send(sent()))
        await scene.remote.wait_for(1)
        second = await scene.send(sent("other"))
        assert isinstance(second, Deferred)
        assert not second.counted
        assert second.retry_after_s == 1.0
        release.set()
        assert isinstance(await first, Delivered)

    play(scenario, threads_max=1)


@pytest.mark.parametrize(
    "fields", [{"service": "unknown"}, {"organisation_id": ELSEWHERE}], ids=["no such service", "not theirs"]
)
def test_what_is_not_open_to_an_organisation_is_refused_for_good(fields: dict[str, Any]) -> None:
    async def scenario(scene: Scene) -> None:
        outcome = await scene.send(sent(**fields))
        assert isinstance(outcome, Rejected)
        assert not outcome.disable
        assert scene.remote.requests == []

    play(scenario)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"severity": Severity.CRITICAL}, "failure"),
        ({"severity": Severity.HIGH}, "failure"),
        ({"severity": Severity.NORMAL}, "warning"),
        ({"severity": Severity.LOW}, "info"),
        ({}, "info"),
        ({"severity": Severity.CRITICAL, "incident_state": IncidentState.CLOSED}, "success"),
    ],
)
def test_the_kind_follows_how_urgent_it_is(fields: dict[str, Any], kind: str) -> None:
    async def scenario(scene: Scene) -> None:
        usual = sent()
        event = made_event(dialect=Dialect.CLOUDEVENTS, type="disk.full", data=b"{}", **fields)
        lease = msgspec.structs.replace(usual.lease, event=event)
        assert isinstance(await scene.send(msgspec.structs.replace(usual, lease=lease)), Delivered)
        assert msgspec.json.decode(scene.remote.requests[0].body)["type"] == kind

    play(scenario)


# -- settings ----------------------------------------------------------------------------------------------


def test_only_the_first_organisation_may_use_them_unless_all_may() -> None:
    urls = {"ops": "json://c4nary"}
    assert Services(urls, for_everybody=False).names(DEFAULT_ORGANISATION) == {"ops"}
    assert Services(urls, for_everybody=False).names(ELSEWHERE) == frozenset()
    assert Services(urls, for_everybody=True).names(ELSEWHERE) == {"ops"}
    assert Services(urls, for_everybody=True).find_url(ELSEWHERE, ["ops"]) is None


@pytest.mark.parametrize(
    "url", ["c4nary", "", "nosuchservice://c4nary-pass@host", "json://", "discord://c4nary-pass"]
)
def test_a_url_that_apprise_does_not_know_is_told_without_it(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    fault = url_fault(url)
    shown = capfd.readouterr()
    assert fault is not None
    assert shows_no_secret((fault, shown.out, shown.err))


@pytest.mark.parametrize("given", ['{"ops": "c4nary', '["c4nary"]', '{"ops": 1}', '{"c4nary pass": "json://a"}', 7])
def test_a_table_that_is_none_is_told_without_it(given: object) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        read_services(given)
    assert shows_no_secret(caught.value)


def test_a_wrong_url_stops_the_start_and_is_not_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOCSIN_APPRISE_SERVICES", '{"ops": "nosuchservice://c4nary-pass"}')
    settings = load_settings(data=tmp_path)
    with pytest.raises(SettingsFault, match="the URL of ops is no URL that Apprise knows") as caught:
        apprise_transport(settings, SystemClock(), None)  # type: ignore[arg-type]
    assert shows_no_secret((caught.value, settings.values))


def test_services_without_apprise_stop_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOCSIN_APPRISE_SERVICES", '{"ops": "json://localhost"}')
    monkeypatch.delitem(sys.modules, "tocsin.transports.apprise")
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(SettingsFault, match=r"pip install 'tocsin\[apprise\]'"):
        apprise_transport(load_settings(data=tmp_path), SystemClock(), None)  # type: ignore[arg-type]
    monkeypatch.delenv("TOCSIN_APPRISE_SERVICES")
    assert apprise_transport(load_settings(data=tmp_path), SystemClock(), None) == {}  # type: ignore[arg-type]
