"""What the API's description says of Buildable's routes."""

from __future__ import annotations

from tocsin.core.environment import Environment
from tocsin.core.organisation import Scope
from tocsin.core.transaction import TransactionState
from tocsin.dialects.buildable.limits import BuildableLimits
from tocsin.dialects.buildable.parsing import DOES_NOT_EXIST
from tocsin.dialects.buildable.rendering import ERROR_NAMES
from tocsin.web.openapi import Answer, Body, Chapter, Operation, Parameter, codes_everywhere
from tocsin.web.openapi.schemas import (
    Schema,
    always,
    anything,
    flag,
    identifier,
    listed,
    mapping,
    nullable,
    number,
    one_of,
    record,
    ref,
    text,
    whole,
)

_NAME = "buildable"
_PAYLOAD = {"email": "ada@example.com", "plan": "pro"}
_MOMENT_MS = whole("Milliseconds since 1970.", example=1772793000000)
_TTL = nullable(whole("Milliseconds for which it is still kept; null is for ever.", least=0))
_OPENED = ("processing", "finished", "failed")
_STATES = (DOES_NOT_EXIST, *TransactionState)


def chapter(limits: BuildableLimits) -> Chapter:
    """Return the chapter."""
    return Chapter(
        name=_NAME,
        title="Buildable",
        description=(
            "a transactional log. Events are emitted; consumer groups, each named by its `txKey`, query them, claim "
            "one with `/init` and end it with `/transact`. For each event and `txKey` there is at most one "
            "transaction. Members that a route does not know are passed over."
        ),
        operations=_operations(limits),
        security=lambda operation: [{"buildableSecret": [] if operation.scope is None else [operation.scope]}],
        error=_error,
        everywhere=codes_everywhere,
        schemas=_schemas(),
        security_schemes={
            "buildableSecret": {
                "type": "apiKey",
                "in": "header",
                "name": "X-Buildable-Secret",
                "description": "An API key.",
            }
        },
    )


def _error(status: int, codes: tuple[str, ...]) -> Answer:
    return Answer(
        description=f"Refused: {', '.join(codes)}.",
        schema={
            **ref("BuildableError"),
            "properties": {"name": always(ERROR_NAMES.get(status, "internal-error"))},
        },
    )


def _operations(limits: BuildableLimits) -> dict[str, Operation]:
    def body(members: dict[str, Schema], *optional: str) -> Body:
        return Body(schema=record(members, optional=optional), bytes_max=limits.body_max_bytes)

    name = text(least=1, most=limits.name_max_characters, pattern="^[A-Za-z0-9._:-]+$", example="user.created")
    part = nullable(text("Stands before the name, with a dot.", most=limits.name_max_characters))
    key = text("The event's key, 32 hex digits.", least=1, example=identifier("")["examples"][0])
    consumer = text("Names the consumer group.", least=1, most=limits.tx_key_max_characters, example="billing")
    transaction = Answer(description="The transaction.", schema=ref("BuildableTransaction"))
    operations = {
        "POST /emit": _emit(limits, name),
        "POST /init": Operation(
            summary="Start a transaction",
            description="Of several that start one for the same event and `txKey`, one succeeds.",
            scope=Scope.INGEST,
            body=body({"key": key, "txKey": consumer}),
            answers={200: transaction},
            errors={404: ("not_found",), 409: ("transaction_exists",)},
        ),
        "POST /transact": Operation(
            summary="End a transaction",
            description="The same end again is answered with the same transaction.",
            scope=Scope.INGEST,
            body=body(
                {
                    "key": key,
                    "txKey": consumer,
                    "state": one_of(("finished", "failed")),
                    "output": nullable(text(f"At most {limits.output_max_bytes} bytes.", example="invoice 17")),
                },
                "output",
            ),
            answers={200: transaction},
            errors={404: ("not_found",), 409: ("transaction_ended",)},
        ),
        "POST /update": Operation(
            summary="Move a transaction to another state",
            scope=Scope.INGEST,
            body=body({"key": key, "eventName": name, "txKey": consumer, "txState": one_of(_OPENED)}),
            answers={200: Answer(description="The event.", schema=ref("BuildableEvent"))},
            errors={404: ("not_found",)},
        ),
    }
    return operations | _queries(limits, name, part, consumer)


def _emit(limits: BuildableLimits, name: Schema) -> Operation:
    return Operation(
        summary="Store an event",
        scope=Scope.INGEST,
        parameters=(
            Parameter(
                name="Idempotency-Key",
                place="header",
                description="A repeat with the same key and body is answered with the first event.",
                schema=text(most=limits.idempotency_key_max_characters),
            ),
        ),
        body=Body(
            schema=record({"event": name, "payload": mapping(example=_PAYLOAD)}), bytes_max=limits.body_max_bytes
        ),
        answers={
            200: Answer(
                description="It is stored. `Idempotent-Replayed` stands on the answer to a repeat.",
                headers={"Idempotent-Replayed": always("true")},
                schema=record({"status": always("success"), "key": identifier("")}),
            )
        },
        errors={409: ("idempotency_conflict",)},
    )


def _queries(limits: BuildableLimits, name: Schema, part: Schema, consumer: Schema) -> dict[str, Operation]:
    full_name = record({"eventName": name, "platform": part, "label": part}, optional=("platform", "label"))
    query = record(
        {
            **full_name["properties"],
            "txKey": consumer,
            "since": number("Events stored at or after it, in milliseconds since 1970.", example=0),
            "txState": nullable(one_of(_STATES, default=DOES_NOT_EXIST)),
            "page": nullable(whole(least=1, most=limits.page_max, default=1)),
            "pageSize": nullable(whole(least=1, most=limits.page_size_max, default=limits.page_size_default)),
        },
        optional=("platform", "label", "txState", "page", "pageSize"),
    )
    page = record(
        {
            "rows": listed(ref("BuildableRow")),
            "total": whole(least=0),
            "page": whole(least=1),
            "pageSize": whole(least=1),
            "totalPages": whole(least=0),
            "totalIsExact": always(False, "There where counting was given up."),
        },
        optional=("totalIsExact",),
    )
    return {
        "POST /query": Operation(
            summary="List events by what a consumer group made of them",
            description="Oldest first. `does-not-exist` are those that the consumer group has not started.",
            scope=Scope.READ,
            body=Body(schema=query, bytes_max=limits.body_max_bytes),
            answers={200: Answer(description="A page of events.", schema=page)},
            errors={503: ("search_too_long",)},
        ),
        "POST /get-full-event-name": Operation(
            summary="Tell an event's full name",
            scope=Scope.READ,
            body=Body(schema=full_name, bytes_max=limits.body_max_bytes),
            answers={200: Answer(description="The name.", schema=record({"fullName": text(example="user.created")}))},
        ),
    }


def _schemas() -> dict[str, Schema]:
    step = record(
        {
            "enterState": one_of(_STATES),
            "exitState": one_of(_STATES),
            "timestamp": _MOMENT_MS,
            "updatedBy": text("The id of the key, or the consumer group."),
        }
    )
    event = {
        "_id": identifier(""),
        "key": identifier(""),
        "eventName": text(example="user.created"),
        "environment": one_of(Environment),
        "payload": anything("What the event carries.", example=_PAYLOAD),
        "query": mapping(),
        "headers": mapping(),
        "createdAt": _MOMENT_MS,
        "state": one_of(_STATES),
        "history": listed(step),
        "ttl": _TTL,
        "v": whole("Rises with every step of the transaction.", least=1),
        "ownership": record({"buildableId": identifier(""), "userId": text(), "clientId": text()}),
        "processing": record(
            {
                "hasTransactions": flag(),
                "totalTransactions": whole(least=0),
                "hasFutureTransactions": flag(),
                "isCompleted": flag(),
            }
        ),
    }
    encoded = {
        "payload": text("JSON in a string.", example='{"email":"ada@example.com"}'),
        "query": always("{}"),
        "headers": always("{}"),
    }
    transaction = {
        "_id": identifier(""),
        "key": identifier(""),
        "txn": identifier(""),
        "event": record({"_id": identifier(""), "eventName": text(example="user.created")}),
        "createdAt": _MOMENT_MS,
        "ttl": _TTL,
        "state": one_of(_OPENED),
        "history": listed(step),
        "startedAt": _MOMENT_MS,
        "txKey": text(example="billing"),
        "endedAt": nullable(_MOMENT_MS),
        "output": text(),
    }
    return {
        "BuildableEvent": record(event),
        "BuildableRow": record(event | encoded),
        "BuildableTransaction": record(transaction, optional=("output",)),
        "BuildableError": record(
            {"status": always("error"), "message": text("What is wrong; it names the field."), "name": text()}
        ),
    }
