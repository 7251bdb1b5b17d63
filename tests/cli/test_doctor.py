"""``tocsin doctor``, ``openapi`` and ``demo``."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cli.commands import Shell
from cli.following import following
from gateway import Gateway
from mail_servers import PASSWORD, USER, MailServer
from program import run_program
from tocsin.cli.exits import FAILED, OK

pytestmark = pytest.mark.acceptance


def found(done: Any) -> dict[str, dict[str, Any]]:
    """Return the findings by their check."""
    return {row["check"]: row for row in (json.loads(line) for line in done.out.splitlines())}


def test_all_is_well_with_a_gateway_that_runs(shell: Shell, gateway: Gateway) -> None:
    shell.tenant.webhook(f"{gateway.receiver_url}/a")
    done = shell.run("doctor", "--data", str(gateway.process.data))
    findings = found(done)
    assert done.status == OK, done
    assert list(findings) == [
        "version", "settings", "data directory", "disk space", "disk speed", "database", "open files",
        "gateway", "store", "clock", "key", "host names",
    ]  # fmt: skip
    assert "fault" not in {row["result"] for row in findings.values()}
    assert "in use by a running gateway" in findings["database"]["found"]
    assert "manage" in findings["key"]["found"]
    told = json.loads(shell.run("doctor", "--only", "gateway", "--output", "json").out)
    assert [row["check"] for row in told] == ["gateway", "store", "clock", "key", "host names"]
    table = shell.run("doctor", "--only", "gateway", "--output", "table")
    assert [line.split()[:2] for line in table.out.splitlines()][:2] == [["ok", "gateway"], ["ok", "store"]]


def test_a_gateway_that_is_not_there_and_a_key_that_is_wrong_are_told(shell: Shell) -> None:
    done = shell.run("doctor", "--only", "gateway", "--url", "http://127.0.0.1:1")
    assert (done.status, found(done)["gateway"]["result"]) == (FAILED, "fault")
    assert "tocsin serve" in found(done)["gateway"]["do"]
    assert done.err == "tocsin: 1 thing wrong; the output says what to do\n"
    done = shell.run("doctor", "--only", "gateway", TOCSIN_KEY="tcs_live_wrong")
    assert (done.status, found(done)["key"]["result"]) == (FAILED, "fault")
    done = shell.run("doctor", "--only", "gateway", TOCSIN_KEY=None)
    assert (done.status, found(done)["key"]["result"]) == (OK, "warning")


def test_a_host_name_that_is_not_found_is_told(shell: Shell) -> None:
    shell.tenant.webhook("http://no-such-host.invalid/a")
    row = found(shell.run("doctor", "--only", "gateway"))["host names"]
    assert (row["result"], "no-such-host.invalid" in row["found"]) == ("warning", True)


def local(data: Path, **settings: str) -> Any:
    """Return what the local half finds, without a gateway."""
    return run_program("doctor", "--only", "local", "--data", str(data), settings=settings)


def test_a_stopped_database_is_looked_through(tmp_path: Path) -> None:
    data = tmp_path / "data"
    port = free_port()
    assert found(local(data, TOCSIN_PORT=port))["database"]["found"] == "there is none yet"
    assert run_program("init", "--data", str(data), "--json").status == 0
    done = local(data, TOCSIN_PORT=port)
    assert (done.status, found(done)["database"]["found"]) == (OK, "is sound")
    assert found(done)["data directory"]["result"] == "ok"
    assert not [each.name for each in data.iterdir() if "doctor" in each.name]
    with (data / "tocsin.db").open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 20_000)
    done = local(data, TOCSIN_PORT=port)
    assert (done.status, found(done)["database"]["result"]) == (FAILED, "fault")


def free_port() -> str:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


def test_the_mail_server_is_greeted_and_logged_in_to(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    assert "mail server" not in found(local(data, TOCSIN_PORT=port))
    user = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"
    with MailServer(login=True) as server:
        url = f"smtp://{user}@127.0.0.1:{server.port}"
        done = local(data, TOCSIN_PORT=port, TOCSIN_SMTP_URL=url)
        row = found(done)["mail server"]
        assert row["result"] == "warning"
        assert row["found"].startswith(f"127.0.0.1 port {server.port}: connected, EHLO, AUTH in ")
        assert row["found"].endswith(f"mails are from {USER}")
        assert "in clear" in row["do"]
        wrong = local(data, TOCSIN_PORT=port, TOCSIN_SMTP_URL=url.replace("c4nary", "other"))
        assert (wrong.status, server.mails) == (FAILED, [])
        assert found(wrong)["mail server"]["found"].endswith("the mail server refuses our login: 535")
        assert "c4nary" not in done.out + done.err + wrong.out + wrong.err
    gone = local(data, TOCSIN_PORT=port, TOCSIN_SMTP_URL=url)
    assert (gone.status, found(gone)["mail server"]["result"]) == (FAILED, "fault")


def test_a_port_that_is_taken_and_a_wrong_setting_are_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = local(tmp_path / "data", TOCSIN_PORT=str(taken.getsockname()[1]))
    assert (done.status, found(done)["port"]["result"]) == (FAILED, "fault")
    done = local(tmp_path / "data", TOCSIN_PRT="1")
    assert (done.status, found(done)["settings"]["result"]) == (FAILED, "fault")


def test_the_document_is_the_one_that_a_gateway_answers(shell: Shell) -> None:
    told = shell.ok("openapi")
    assert told == shell.tenant.get("/api/v1/openapi.json")


def test_the_demo_shows_an_event_of_each_dialect_arrive(tmp_path: Path) -> None:
    done = run_program("demo", "--once", directory=tmp_path)
    assert done.status == OK, done
    rows = [json.loads(line) for line in done.out.splitlines()]
    signed = [row for row in rows if row["signature"] is not None]
    assert [row["dialect"] for row in signed] == ["PushGo", "PingPilot", "Buildable", "Native Frame", "PromptJang"]
    assert {row["signature"] for row in signed} == {"right"}
    assert [row["arrived_at"] for row in signed] == ["POST /all"] * 4 + ["POST /endpoint"]
    assert all(row["arrived_ms"] > 0 and row["event_id"].startswith("evt_") for row in rows)
    told = [(row["dialect"], row["arrived_at"]) for row in rows if row["signature"] is None]
    assert told == [("PingPilot", each) for each in ("Discord", "Telegram", "mail to you@example.com")]
    assert "8 of 8" in done.err
    assert list(tmp_path.iterdir()) == []


def test_the_demo_goes_on_until_ctrl_c(shell: Shell) -> None:
    with following(shell, "demo", TMPDIR=str(shell.home)) as running:
        key = running.out.until("API key").split()[-1]
        running.out.until("People    http://127.0.0.1:")
        running.out.until("tocsin tail --url")
        running.err.until("until Ctrl-C")
        assert running.interrupt() == OK
        assert running.err.until("stopping").strip() == "stopping ..."
    assert key.startswith("tcs_live_")
    assert not list(shell.home.glob("tocsin-demo-*"))
