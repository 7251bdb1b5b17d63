"""``tocsin send``: what arrives, and how its exit status tells what became of it."""

from __future__ import annotations

import pytest

from cli.commands import Shell, event_data
from gateway import Gateway
from tocsin.cli.exits import PARTIAL

pytestmark = pytest.mark.acceptance


def test_a_category_event_is_stored_with_its_fields_typed(shell: Shell) -> None:
    shell.tenant.category()
    fields = ("-f", "service=api", "-f", "retries=3", "-f", 'code="3"', "-f", "paid=true")
    told = shell.ok("send", "-c", "bug", "-d", "Checkout fails", *fields)
    assert told["status"] == "accepted"
    assert event_data(shell.tenant, told["event_id"]) == {
        "category": "bug",
        "description": "Checkout fails",
        "fields": {"service": "api", "retries": 3, "code": "3", "paid": True},
    }


def test_the_description_is_read_from_stdin(shell: Shell) -> None:
    shell.tenant.category()
    told = shell.ok("send", "-c", "bug", "-d", "-", stdin="first line\nsecond: \u00e9\n")
    assert event_data(shell.tenant, told["event_id"])["description"] == "first line\nsecond: \u00e9"


def test_a_repeat_with_the_same_idempotency_key_is_the_same_event(shell: Shell) -> None:
    shell.tenant.category()
    command = ("send", "-c", "bug", "--idempotency-key", "ORD-1")
    assert shell.ok(*command)["event_id"] == shell.ok(*command)["event_id"]
    assert shell.ok("send", "-c", "bug")["event_id"] != shell.ok(*command)["event_id"]


def test_waiting_tells_that_every_first_attempt_delivered(shell: Shell, gateway: Gateway) -> None:
    shell.tenant.category()
    shell.ok("destinations", "change", "email", "--type", "nothing")
    shell.tenant.webhook(f"{gateway.receiver_url}/told-all")
    told = shell.ok("send", "-c", "bug", "--wait", "10", "--idempotency-key", "ORD-1")
    assert told["status"] == "delivered"
    assert [each.path for each in gateway.receiver.wait_for(1, path="/told-all")] == ["/told-all"]
    again = shell.ok("send", "-c", "bug", "--wait", "10", "--idempotency-key", "ORD-1")
    assert again == told


def test_waiting_where_there_is_nobody_to_tell_says_so(shell: Shell) -> None:
    shell.tenant.category()
    shell.ok("destinations", "change", "email", "--type", "nothing")
    done = shell.run("send", "-c", "bug", "--wait", "10")
    assert (done.status, done.json["status"]) == (PARTIAL, "told to nobody")
    assert f"{done.json['event_id']} is stored and told to nobody" in done.err


def test_waiting_for_a_receiver_that_fails_ends_as_partial(shell: Shell, gateway: Gateway) -> None:
    shell.tenant.category()
    shell.tenant.webhook(f"{gateway.receiver_url}/status/503")
    command = ("send", "-c", "bug", "--wait", "10", "--idempotency-key", "ORD-1")
    done = shell.run(*command)
    assert done.status == 9
    assert done.json["status"] == "not delivered yet"
    assert f"{done.json['event_id']} is stored" in done.err
    assert event_data(shell.tenant, done.json["event_id"])["category"] == "bug"
    again = shell.run(*command)
    assert (again.status, again.json) == (PARTIAL, {"event_id": done.json["event_id"], "status": "repeated"})
    assert "stored by an earlier request, and not every destination has it" in again.err


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("-c", "nope"), 7, 'You dont have a category named "nope" (404)'),
        (("-c", "not a name"), 8, "category: Category name can only contain letters"),
        (("-c", "bug", "-f", "a=[1]"), 8, "fields.a: Invalid input (422)"),
        (("-c", "bug", "-f", "novalue"), 2, "--field takes name=value"),
    ],
)
def test_what_is_refused_is_told_in_a_line(shell: Shell, arguments: tuple[str, ...], status: int, says: str) -> None:
    shell.tenant.category()
    shell.refused(status, "send", *arguments, says=says)


def test_the_category_is_required(shell: Shell) -> None:
    done = shell.run("send")
    assert done.status == 2
    assert "--category" in done.err


def test_every_option_has_a_variable(shell: Shell) -> None:
    shell.tenant.category()
    told = shell.ok("send", TOCSIN_SEND_CATEGORY="bug", TOCSIN_SEND_FIELD="a=1 b=two")
    assert event_data(shell.tenant, told["event_id"])["fields"] == {"a": 1, "b": "two"}
