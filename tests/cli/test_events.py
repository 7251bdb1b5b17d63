"""``tocsin events``, ``retry`` and ``jobs``: looking at what happened, and having it happen again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cli.commands import Shell
from gateway import Gateway
from streams import listening
from tocsin.cli.exits import NOT_FOUND, REFUSED, USAGE

pytestmark = pytest.mark.acceptance

NONE = "evt_" + "0" * 32


def emit(shell: Shell, name: str = "order.paid", **payload: Any) -> str:
    """Store an event; return its id."""
    key: str = shell.tenant.post("/emit", {"event": name, "payload": payload})["key"]
    return f"evt_{key}"


@contextmanager
def settling(shell: Shell, status: str, count: int) -> Iterator[None]:
    """Wait, at the end of the block, until so many deliveries have come to this."""
    with listening(shell.tenant.process.base_url, shell.tenant.key, {"kinds": "delivery"}) as listener:
        yield
        listener.until(lambda messages: sum(each.data["status"] == status for each in messages) >= count)


def test_a_list_is_newest_first_and_goes_on_where_it_ended(shell: Shell) -> None:
    stored = [emit(shell, number=number) for number in range(5)]
    first = shell.run("events", "list", "--limit", "2")
    assert [row["id"] for row in first.rows] == stored[:2:-1]
    cursor = first.err.partition("--cursor ")[2].partition(",")[0]
    rest = shell.run("events", "list", "--limit", "3", "--cursor", cursor)
    assert [row["id"] for row in rest.rows] == stored[2::-1]
    assert rest.err == ""
    assert len(shell.rows("events", "list", "--all")) == 5


def test_more_than_a_page_is_fetched_page_by_page(shell: Shell) -> None:
    shell.ok("trigger", "buildable.user-created", "--count", "130")
    assert len({row["id"] for row in shell.rows("events", "list", "--limit", "120")}) == 120
    assert len({row["id"] for row in shell.rows("events", "list", "--all")}) == 130


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--type", "order.paid"), ["order.paid"]),
        (("--dialect", "nativeframe"), ["paid"]),
        (("--source", "buildable"), ["order.shipped", "order.paid"]),
        (("--status", "RECEIVED"), ["paid", "order.shipped", "order.paid"]),
        (("--status", "received"), ["paid", "order.shipped", "order.paid"]),
        (("--status", "EXPIRED"), []),
        (("--since", "1h"), ["paid", "order.shipped", "order.paid"]),
        (("--until", "1h"), []),
        (("--destination", "dst_" + "0" * 32), []),
        (("--endpoint", "ep_" + "0" * 32), []),
        (("--severity", "high"), []),
    ],
    ids=str,
)
def test_every_filter_narrows_the_list(shell: Shell, options: tuple[str, ...], wanted: list[str]) -> None:
    emit(shell)
    emit(shell, "order.shipped")
    shell.tenant.post("/events/v2/projects/shop/events/paid", {"a": 1})
    assert [row["event_type"] for row in shell.rows("events", "list", *options)] == wanted


def test_what_was_given_up_is_found_by_either_word_and_a_destination_by_its_name(
    shell: Shell, gateway: Gateway
) -> None:
    once = ("--body", '{"retry": {"schedule_s": []}}', "--quiet", "--type", "order.*")
    shell.ok("destinations", "create", "gone", *once, "--webhook", f"{gateway.receiver_url}/status/500")
    with settling(shell, "failed", 1):
        lost = emit(shell)
    emit(shell, "other")
    for status in ("failed", "Failed", "expired", "EXPIRED"):
        assert [row["id"] for row in shell.rows("events", "list", "--status", status)] == [lost]
        retried = shell.rows("retry", "--since", "1h", "--dry-run", "--status", status.lower())
        assert [row["count"] for row in retried] == [1]
    there = ("--destination", "gone")
    assert [row["id"] for row in shell.rows("events", "list", *there)] == [lost]
    assert [row["id"] for row in shell.rows("export", "--short", *there)] == [lost]
    assert shell.run("events", "replay", *there, "--dry-run").json == {"count": 1, "exact": True}
    (retried,) = shell.rows("retry", "--since", "1h", "--dry-run", "--status", "EXPIRED", *there)
    assert retried["count"] == 1


@pytest.mark.parametrize(
    "command", [("events", "list"), ("events", "replay", "--dry-run"), ("export",)], ids=" ".join
)
def test_a_destination_that_is_not_there_is_told(shell: Shell, command: tuple[str, ...]) -> None:
    shell.refused(NOT_FOUND, *command, "--destination", "nowhere", says="there is no destination nowhere")
    shell.refused(REFUSED, *command, "--destination", "dst_1", says="must be a destination's id")
    done = shell.run(*command, "--status", "lost")
    assert (done.status, "'lost' is not one of" in done.err) == (USAGE, True)


def test_one_event_is_shown_with_its_attempts(shell: Shell, gateway: Gateway) -> None:
    destination = shell.tenant.webhook(f"{gateway.receiver_url}/one")
    with settling(shell, "delivered", 1):
        event_id = emit(shell, amount=12)
    assert shell.ok("events", "get", event_id)["payload"] == {"amount": 12}
    (attempt,) = shell.rows("events", "attempts", event_id)
    assert (attempt["destination"], attempt["number"], attempt["status_code"]) == (destination["name"], 1, 200)
    assert attempt["request"]["line"] == f"POST {gateway.receiver_url}/one"
    shown = shell.run("events", "attempts", event_id, "--output", "table")
    assert (shown.status, "200" in shown.out) == (0, True)
    for command in ("get", "attempts", "replay"):
        shell.refused(NOT_FOUND, "events", command, NONE, says="not found")


def test_one_event_is_replayed(shell: Shell) -> None:
    event_id = emit(shell, amount=12)
    assert shell.ok("events", "replay", event_id, "--dry-run") == {"count": 1, "exact": True}
    again = shell.ok("events", "replay", event_id)["id"]
    assert again != event_id
    assert shell.ok("events", "get", again)["payload"] == {"amount": 12}


def test_many_events_are_replayed_by_a_job_once_the_count_is_agreed_to(shell: Shell) -> None:
    for number in range(3):
        emit(shell, number=number)
    emit(shell, "order.shipped")
    wanted = ("events", "replay", "--type", "order.paid", "--since", "1h")
    assert shell.ok(*wanted, "--dry-run") == {"count": 3, "exact": True}
    shell.refused(USAGE, *wanted, says="3 events would be replayed; nothing is done yet: with --yes it is")
    assert shell.rows("jobs", "list") == []
    job = shell.ok(*wanted, "--yes")
    assert (job["kind"], job["state"], job["done"], job["failed"]) == ("replay", "finished", 3, 0)
    assert len(shell.rows("events", "list", "--type", "order.paid")) == 6
    (listed,) = shell.rows("jobs", "list", "--state", "finished")
    assert listed == shell.ok("jobs", "get", job["id"]) == job


@pytest.mark.parametrize("arguments", [(), (NONE, "--since", "1h")])
def test_a_replay_takes_an_id_or_filters(shell: Shell, arguments: tuple[str, ...]) -> None:
    shell.refused(USAGE, "events", "replay", *arguments, says="either an event's id or filters")


def test_a_job_that_is_not_waited_for_can_be_waited_for_later_or_cancelled(shell: Shell) -> None:
    emit(shell)
    job = shell.ok("events", "replay", "--since", "1h", "--yes", "--no-wait")
    assert shell.ok("jobs", "get", job["id"], "--wait")["state"] == "finished"
    shell.refused(8, "jobs", "cancel", job["id"], says="job")
    shell.refused(NOT_FOUND, "jobs", "get", "job_" + "0" * 32, says="job not found")


def test_what_was_given_up_is_sent_again(shell: Shell, gateway: Gateway) -> None:
    once = ("--body", '{"retry": {"schedule_s": []}}', "--quiet")
    shell.ok("destinations", "create", "gone", *once, "--webhook", f"{gateway.receiver_url}/status/500")
    shell.tenant.webhook(f"{gateway.receiver_url}/fine", name="fine")
    with settling(shell, "failed", 2):
        for _ in range(2):
            emit(shell)
    counts = shell.rows("retry", "--since", "1h", "--dry-run")
    assert {row["destination"]: row["count"] for row in counts} == {"gone": 2, "fine": 0}
    shell.refused(USAGE, "retry", "--since", "1h", says="2 deliveries to 1 destination would be sent again")
    shell.run("destinations", "change", "gone", "--webhook", f"{gateway.receiver_url}/mended")
    (row,) = shell.rows("retry", "--since", "1h", "--destination", "gone", "--yes")
    assert (row["destination"], row["count"], row["state"], row["done"]) == ("gone", 2, "finished", 2)
    gateway.receiver.wait_for(2, path="/mended")
    assert shell.rows("retry", "--since", "1h", "--yes", "--destination", "fine")[0]["count"] == 0


def test_a_retry_of_what_is_not_there_is_refused(shell: Shell) -> None:
    shell.refused(NOT_FOUND, "retry", "--since", "1h", "--destination", "nowhere", says="there is no destination")
    shell.refused(USAGE, "retry", "--since", "soon", says="is no moment")
