"""``tocsin tail`` and ``tocsin listen``: what happens, as it happens."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.commands import Shell
from cli.following import following
from gateway import Gateway, Process, Receiver
from tenants import Tenant, incident
from tocsin.cli.exits import DENIED, INTERRUPTED, NOT_FOUND, PARTIAL, UNREACHABLE, USAGE
from tocsin.core.signature import sign_standard, standard_key

pytestmark = pytest.mark.acceptance


def emit(tenant: Tenant, name: str = "order.paid", payload: Any = None) -> str:
    """Store an event; return its id."""
    key: str = tenant.post("/emit", {"event": name, "payload": payload or {"a": 1}})["key"]
    return f"evt_{key}"


def test_events_and_deliveries_are_told_a_line_each_until_ctrl_c(shell: Shell, gateway: Gateway) -> None:
    shell.tenant.webhook(f"{gateway.receiver_url}/tail", name="all")
    with following(shell, "tail") as running:
        running.err.until("following")
        event_id = emit(shell.tenant)
        event, delivery = running.row(), running.row()
        assert running.interrupt() == INTERRUPTED
        assert running.err.rest() == [""]
    assert (event["kind"], event["id"], event["type"]) == ("event", event_id, "order.paid")
    assert "data" not in event
    assert (delivery["kind"], delivery["status"], delivery["event"]["id"]) == ("delivery", "delivered", event_id)


def test_a_filter_and_the_kinds_narrow_what_is_told(shell: Shell, gateway: Gateway) -> None:
    shell.tenant.webhook(f"{gateway.receiver_url}/tail", name="all")
    channel = shell.tenant.channel()
    options = ("--kind", "event", "--severity", "high", "--destination", "all", "--data", "--count", "1")
    with following(shell, "tail", *options) as running:
        running.err.until("following")
        emit(shell.tenant)
        shell.tenant.post("/event/create", incident(channel, severity="low"))
        shell.tenant.post("/event/create", incident(channel, title="this one"))
        row = running.row()
        assert running.ended() == 0
    assert row["data"]["title"] == "this one"


def test_the_past_stands_before_what_comes(shell: Shell) -> None:
    past = [emit(shell.tenant, payload={"number": number}) for number in range(3)]
    with following(shell, "tail", "--since", "1h", "--count", "4", "--type", "order.paid") as running:
        told = [running.row() for _ in past]
        fresh = emit(shell.tenant)
        told.append(running.row())
        assert running.ended() == 0
    assert [row["id"] for row in told] == [*past, fresh]
    assert {row["type"] for row in told} == {"order.paid"}


def test_a_table_grows(shell: Shell) -> None:
    with following(shell, "tail", "--output", "table", "--count", "1") as running:
        running.err.until("following")
        event_id = emit(shell.tenant)
        assert running.out.next().split()[:3] == ["TIME", "(UTC)", "KIND"]
        line = running.out.next()
        assert running.ended() == 0
    assert [event_id, "buildable", "order.paid"] == line.split()[2:5]


def test_a_command_gets_each_event_and_never_through_a_shell_unasked(shell: Shell) -> None:
    out = shell.home / "seen"
    script = shell.file("on-event", f'#!/bin/sh\ncat >> {out}\necho "$TOCSIN_EVENT_TYPE $1" >> {out}\n')
    Path(script).chmod(0o700)
    name = f"a;touch {shell.home}/hacked"
    with following(shell, "tail", "--count", "1", "--exec", f"{script} $HOME") as running:
        running.err.until("following")
        event_id = cloud_event(shell.tenant, name)
        assert running.ended() == 0
    told, line = out.read_text().splitlines()
    assert json.loads(told)["id"] == event_id
    assert line == f"{name} $HOME"
    assert not (shell.home / "hacked").exists()


def test_a_script_for_the_shell_has_the_event_in_its_environment(shell: Shell) -> None:
    out = shell.home / "seen"
    options = ("--count", "1", "--shell", "--exec", f'echo "$TOCSIN_EVENT_KIND|$TOCSIN_EVENT_ID" > {out}')
    with following(shell, "tail", *options) as running:
        running.err.until("following")
        event_id = cloud_event(shell.tenant, "$(touch hacked)")
        assert running.ended() == 0
    assert out.read_text() == f"event|{event_id}\n"
    assert not (shell.home / "hacked").exists()


def test_a_command_may_be_one_of_ours_that_reads_settings(shell: Shell) -> None:
    command = f"{sys.executable} -m tocsin openapi > openapi.json"
    with following(shell, "tail", "--count", "1", "--shell", "--exec", command) as running:
        running.err.until("following")
        emit(shell.tenant)
        assert running.ended() == 0
    assert json.loads((shell.home / "openapi.json").read_text())["openapi"].startswith("3.1")


@pytest.mark.parametrize(
    ("command", "said"),
    [("exit 3", "ended with 3"), ("sleep 60", "took longer than 0.2 s and was killed")],
    ids=["fails", "hangs"],
)
def test_a_command_that_fails_does_not_end_the_stream(shell: Shell, command: str, said: str) -> None:
    options = ("--count", "2", "--shell", "--exec", f"exec {command}" if "sleep" in command else command)
    with following(shell, "tail", *options, "--exec-timeout", "0.2") as running:
        running.err.until("following")
        for _ in range(2):
            emit(shell.tenant)
        assert running.ended() == PARTIAL
        assert said in running.err.next()


@pytest.mark.parametrize(
    ("again", "kept"), [(False, "begun\nfinished\n"), (True, "begun\n")], ids=["finishes", "is-killed"]
)
def test_ctrl_c_lets_a_command_finish_and_another_one_kills_it(shell: Shell, again: bool, kept: str) -> None:
    told, gate = shell.home / "told", shell.home / "gate"
    for each in (told, gate):
        os.mkfifo(each)
    # The program that the script waits for is one that only its whole group's end reaches.
    script = f"exec 3> {told}; echo begun >&3; cat {gate}; echo finished >&3"
    with following(shell, "tail", "--kind", "event", "--shell", "--exec", script) as running:
        running.err.until("following")
        event_id = emit(shell.tenant)
        with told.open() as telling:
            begun = telling.readline()
            running.signal()
            assert running.err.next() == f"tocsin: the command for {event_id} is let finish; Ctrl-C again kills it"
            if again:
                running.signal()
            else:
                gate.write_text("")
            # It ends with the last process that has it open.
            assert begun + telling.read() == kept
        assert running.ended() == INTERRUPTED
        assert running.err.rest() == [""]


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (("--exec", "no-such-command"), USAGE, "there is no command no-such-command"),
        (("--exec", "'unfinished"), USAGE, "cannot be split"),
        (("--since", "soon"), USAGE, "is no moment"),
        (("--destination", "nowhere"), NOT_FOUND, "there is no destination"),
        (("--key", "tcs_live_wrong"), DENIED, "this key is not known"),
        (("--url", "http://127.0.0.1:1"), UNREACHABLE, "nobody listens there"),
    ],
    ids=str,
)
def test_what_cannot_be_followed_is_told_at_once(
    shell: Shell, options: tuple[str, ...], status: int, says: str
) -> None:
    shell.refused(status, "tail", *options, says=says)


@pytest.fixture(name="process")
def _process(tmp_path: Path) -> Iterator[Process]:
    """A gateway that can be stopped and started again at the same place."""
    settings = {"TOCSIN_STREAM_RETRY_MS": "100"}
    process = Process(tmp_path / "data", settings)
    process.start()
    yield process
    process.stop()


def test_a_gateway_that_was_away_is_followed_on_without_a_gap(process: Process, tmp_path: Path) -> None:
    tenant = Tenant(process, process.keys["api_key"])
    home = tmp_path / "home"
    home.mkdir()
    with following(Shell(home, tenant), "tail", "--kind", "event") as running:
        running.err.until("following")
        before = emit(tenant)
        assert running.row()["id"] == before
        process.stop()
        process.start(port=process.base_url.rpartition(":")[2])
        after = [emit(tenant) for _ in range(3)]
        assert [running.row()["id"] for _ in after] == after
        running.err.until("coming again")
        assert running.interrupt() == INTERRUPTED


def cloud_event(tenant: Tenant, name: str) -> str:
    """Store an event whose type may be nearly anything; return its id."""
    event = {"specversion": "1.0", "id": name, "source": "/shop", "type": name}
    told = tenant.post("/api/v1/cloudevents", event, {"Content-Type": "application/cloudevents+json"})
    made: str = told["event_id"]
    return made


# -- listen ------------------------------------------------------------------------------------------------


@pytest.fixture(name="local")
def _local() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def test_events_are_forwarded_signed_and_byte_for_byte(shell: Shell, local: Receiver) -> None:
    secret = shell.run("listen", "--print-secret").out.strip()
    body = b'{"amount": 1.50, "big": 12345678901234567890}'
    with following(shell, "listen", "--forward-to", f"{local.url}/hooks?a=1", "--count", "1") as running:
        running.err.until("forwarding to")
        shell.tenant.post("/events/v2/projects/shop/events/paid", body)
        row = running.row()
        assert running.ended() == 0
    (arrival,) = local.wait_for(1, path="/hooks?a=1")
    assert arrival.body == body
    key = standard_key(secret)
    assert key is not None
    assert (arrival.method, arrival.headers["webhook-id"]) == ("POST", row["event_id"])
    stamp = int(arrival.headers["webhook-timestamp"])
    assert arrival.headers["webhook-signature"] == sign_standard(key, row["event_id"], stamp, body)
    assert (row["status_code"], row["type"], row["error"]) == (200, "paid", None)
    assert shell.run("listen", "--print-secret").out.strip() == secret
    kept = shell.home / "state" / "tocsin" / "listen.secret"
    assert kept.stat().st_mode & 0o777 == 0o600


CARRIED = {
    "line-ends": ("application/json", b' {\r\n "a": 1.50,\r"b":\n[] }\r\n'),
    "text-with-a-mark": ("text/plain; charset=utf-8", "\ufeffeins\r\nzwei\r\x00\u2028".encode()),
    "other-alphabet": ("text/plain; charset=latin-1", b"gr\xfc\xdfe\r\n"),
    "bytes": ("application/octet-stream", bytes(range(256))),
}


@pytest.mark.parametrize("past", [False, True], ids=["as-it-comes", "from-the-past"])
def test_what_is_forwarded_is_what_a_destination_gets(
    shell: Shell, gateway: Gateway, local: Receiver, past: bool
) -> None:
    shell.tenant.webhook(f"{gateway.receiver_url}/{shell.home.parent.name}")
    count = str(len(CARRIED))

    def store() -> None:
        for name, (media, body) in CARRIED.items():
            told = {"ce-specversion": "1.0", "ce-id": name, "ce-source": "/s", "ce-type": "t", "Content-Type": media}
            shell.tenant.post("/api/v1/cloudevents", body, told)

    if past:
        store()
    options = ("--forward-to", f"{local.url}/hook", "--count", count, *(("--replay", count) if past else ()))
    with following(shell, "listen", *options) as running:
        running.err.until("forwarding to")
        if not past:
            store()
        forwarded = local.wait_for(len(CARRIED), path="/hook")
        assert running.ended() == 0
    assert [(each.headers["content-type"], each.body) for each in forwarded] == list(CARRIED.values())
    delivered = gateway.receiver.wait_for(len(CARRIED), path=f"/{shell.home.parent.name}")
    assert {(each.headers["content-type"], each.body) for each in delivered} == set(CARRIED.values())


def test_texts_and_lists_narrow_a_stream_and_its_past_alike(shell: Shell) -> None:
    for name in ("order.paid", "order.lost", "user.made"):
        emit(shell.tenant, name, {"note": f"{name} Zürich"})
    options = (
        "--search",
        "ZüRICH",
        "--type",
        "order.paid,user.*",
        "--since",
        "1h",
        "--kind",
        "event",
        "--count",
        "4",
    )
    with following(shell, "tail", *options) as running:
        told = [running.row() for _ in range(2)]
        for name, note in (
            ("order.paid", "Bern"),
            ("order.lost", "Zürich"),
            ("user.a", "Zürich"),
            ("order.paid", "züRich"),
        ):
            emit(shell.tenant, name, {"note": note})
        told += [running.row() for _ in range(2)]
        assert running.ended() == 0
    assert [row["type"] for row in told] == ["order.paid", "user.made", "user.a", "order.paid"]


def test_the_last_events_come_first_and_failures_are_told(shell: Shell, local: Receiver) -> None:
    past = [emit(shell.tenant, payload={"number": number}) for number in range(3)]
    options = ("--replay", "2", "--count", "3", "--output", "table")
    with following(shell, "listen", "--forward-to", f"{local.url}/status/500", *options) as running:
        running.err.until("forwarding to")
        lines = [running.out.next() for _ in range(4)]
        fresh = emit(shell.tenant)
        lines += [running.out.next() for _ in range(2)]
        assert running.ended() == PARTIAL
        assert "3 of 3 were not taken" in running.err.until("were not taken")
    assert [line.split()[:2] for line in lines[::2]] == [["-->", each] for each in (*past[1:], fresh)]
    assert all(line.startswith("<-- evt_") and "500" in line and line.endswith(" ms") for line in lines[1::2])
    assert [json.loads(each.body) for each in local.arrivals[:2]] == [{"number": 1}, {"number": 2}]


def test_nobody_listening_on_this_machine_is_a_line_and_no_end(shell: Shell) -> None:
    with following(shell, "listen", "--forward-to", "127.0.0.1:1", "--count", "2") as running:
        running.err.until("forwarding to")
        for _ in range(2):
            emit(shell.tenant)
        rows = [running.row() for _ in range(2)]
        assert running.ended() == PARTIAL
    assert {(row["status_code"], row["error"]) for row in rows} == {(None, "Connection refused")}


@pytest.mark.parametrize(
    ("options", "secret", "says"),
    [
        ((), None, "where to?"),
        (("--forward-to", "ftp://a"), None, "must be http"),
        (("--forward-to", "http://u:p@a"), None, "must be http"),
        (("--forward-to", "http://a"), "short", "whsec_"),
    ],
    ids=str,
)
def test_a_place_that_cannot_be_forwarded_to_is_refused(
    shell: Shell, options: tuple[str, ...], secret: str | None, says: str
) -> None:
    shell.refused(USAGE, "listen", *options, TOCSIN_SIGNING_SECRET=secret, says=says)
