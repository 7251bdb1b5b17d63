"""A transaction of more steps than are kept."""

from __future__ import annotations

from gateway import Gateway


def test_a_long_history_says_how_many_steps_it_leaves_out(gateway: Gateway) -> None:
    key = gateway.new_organisation()["key"]
    secret = {"X-Buildable-Secret": key}

    def ask(path: str, **body: object) -> dict[str, object]:
        answer = gateway.process.request("POST", path, body, headers=secret)
        assert answer.status == 200, answer
        found: dict[str, object] = answer.json
        return found

    event = ask("/emit", event="order.paid", payload={})["key"]
    ask("/init", key=event, txKey="mailer")
    for number in range(105):
        ask(
            "/update",
            key=event,
            txKey="mailer",
            eventName="order.paid",
            txState="processing" if number % 2 else "failed",
        )

    (shown,) = gateway.process.request("GET", "/api/v1/transactions", key=key).json["transactions"]
    history = shown["history"]
    assert (len(history), shown["steps_dropped"]) == (100, 6)
    assert [(step["from"], step["to"]) for step in (history[0], history[-1])] == [
        (None, "processing"),
        ("processing", "failed"),
    ]
