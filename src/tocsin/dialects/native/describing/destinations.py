"""The routes of destinations."""

from __future__ import annotations

from tocsin.core.destination import Format, IncidentStyle, Transport
from tocsin.core.event import Dialect, Severity
from tocsin.core.organisation import Scope
from tocsin.core.retry import PRESETS
from tocsin.dialects.native.addresses import METHODS
from tocsin.dialects.native.describing.jobs import JOB_ACCEPTED, JOB_FAULTS
from tocsin.dialects.native.describing.lists import page, paging
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.phases import FINAL, WORDS
from tocsin.pipeline.account.addresses import MAIL_ADDRESSES_MAX
from tocsin.pipeline.destinations import DestinationBounds
from tocsin.web.openapi import Answer, Body, Operation, Parameter
from tocsin.web.openapi.schemas import (
    Schema,
    always,
    either,
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
    time,
    whole,
)

_ONE = "/api/v1/destinations/{destination_id}"
_ETAG = {"ETag": text("The revision, for `If-Match`.")}
_IF_MATCH = Parameter(
    name="If-Match", place="header", schema=text(), description="Only if the destination still has this `ETag`."
)
_CHANGE_FAULTS = {404: ("not_found",), 409: ("changed_meanwhile",), 412: ("precondition_failed",)}
_ADDRESS_FAULTS = ("url_not_allowed", "unprocessable", "invalid_condition", "apprise_service_unavailable")
_URL = "https://hooks.example.com/all"


def operations(limits: NativeLimits, bounds: DestinationBounds) -> dict[str, Operation]:
    """Return the operations."""
    shown = Answer(description="The destination.", schema=ref("Destination"), headers=_ETAG)
    new = record(_members(limits, bounds), optional=_members(limits, bounds).keys() - _REQUIRED, closed=True)
    changes = record({**_members(limits, bounds), "paused": flag()}, optional=("*",), closed=True)
    deleted = record({"id": identifier("dst"), "deleted": always(True)})
    return {
        "GET /api/v1/destinations": Operation(
            summary="List the destinations",
            description="Oldest first, whichever routes they were made by.",
            scope=Scope.READ,
            parameters=paging(limits),
            answers={200: page("destinations", ref("Destination"), "A page of destinations.")},
        ),
        "POST /api/v1/destinations": Operation(
            summary="Make a destination",
            scope=Scope.MANAGE,
            body=Body(schema=new, bytes_max=limits.body_bytes_max),
            answers={201: _with_secret("It is made.")},
            errors={
                409: ("name_taken", "changed_meanwhile", "destination_limit_reached", "glob_limit_reached"),
                422: (*_ADDRESS_FAULTS, "transport_unavailable"),
            },
        ),
        f"GET {_ONE}": Operation(
            summary="Show a destination", scope=Scope.READ, answers={200: shown}, errors={404: ("not_found",)}
        ),
        f"PATCH {_ONE}": Operation(
            summary="Change a destination",
            description=(
                "A filter, an address and a schedule are replaced as a whole; a secret of the address that is left "
                "out stays. The transport cannot be changed."
            ),
            scope=Scope.MANAGE,
            parameters=(_IF_MATCH,),
            body=Body(schema=changes, bytes_max=limits.body_bytes_max),
            answers={200: shown},
            errors={
                **_CHANGE_FAULTS,
                409: ("name_taken", "changed_meanwhile", "glob_limit_reached"),
                422: (*_ADDRESS_FAULTS, "hidden_value_required"),
            },
        ),
        f"DELETE {_ONE}": Operation(
            summary="Remove a destination",
            description="What waits for it is given up.",
            scope=Scope.MANAGE,
            parameters=(_IF_MATCH,),
            answers={200: Answer(description="It is gone.", schema=deleted)},
            errors={404: ("not_found",), 412: ("precondition_failed",)},
        ),
    } | _actions(limits, shown)


def _actions(limits: NativeLimits, shown: Answer) -> dict[str, Operation]:
    test = record({"event_id": identifier("evt"), "delivery_ids": listed(identifier("dlv"))})
    return {
        f"POST {_ONE}/test": Operation(
            summary="Send a test event",
            description="A real event of type `tocsin.test`, whatever the filter says.",
            scope=Scope.MANAGE,
            answers={202: Answer(description="It is on its way.", schema=test)},
            errors={
                404: ("not_found",),
                409: ("destination_disabled", "destination_incomplete"),
                422: ("transport_unavailable",),
            },
        ),
        f"POST {_ONE}/pause": Operation(
            summary="Hold back what is to be sent",
            scope=Scope.MANAGE,
            parameters=(_IF_MATCH,),
            answers={200: shown},
            errors=_CHANGE_FAULTS,
        ),
        f"POST {_ONE}/resume": Operation(
            summary="Let go what was held back",
            scope=Scope.MANAGE,
            parameters=(_IF_MATCH,),
            answers={200: shown},
            errors=_CHANGE_FAULTS,
        ),
        f"POST {_ONE}/rotate-secret": Operation(
            summary="Make a new signing secret",
            description="The old one signs too for a while.",
            scope=Scope.MANAGE,
            parameters=(_IF_MATCH,),
            answers={200: _with_secret("It signs from now on.")},
            errors=_CHANGE_FAULTS,
        ),
        f"POST {_ONE}/recover": _recover(limits),
    }


def _recover(limits: NativeLimits) -> Operation:
    exact = always(False, "There where not all were counted: it may be more.")
    count = record({"count": whole(least=0, example=3), "exact": exact}, optional=("exact",))
    window = record(
        {
            "since": _moment(),
            "until": nullable(_moment()),
            "status": either(
                text(f"Some of {', '.join(WORDS[each] for each in FINAL)}, with commas between them."),
                listed(text()),
            ),
        },
        optional=("until", "status"),
        closed=True,
    )
    return Operation(
        summary="Send again what the destination missed",
        description="Without `status`, what was given up.",
        scope=Scope.MANAGE,
        parameters=(Parameter(name="dry_run", schema=flag(), description="Only count."),),
        body=Body(schema=window, bytes_max=limits.body_bytes_max),
        answers={
            200: Answer(description="So many would be sent.", schema=count),
            202: JOB_ACCEPTED,
        },
        errors={404: ("not_found",), 409: JOB_FAULTS, 503: ("search_too_long",)},
    )


def _with_secret(description: str) -> Answer:
    secret = text("Signs what is sent; shown in this answer alone.", example="whsec_c2VjcmV0")
    return Answer(
        description=description,
        headers=_ETAG,
        schema={**ref("Destination"), "properties": {"secret": secret}, "required": ["secret"]},
    )


def _moment() -> Schema:
    return either(time(), whole(), text(pattern="^[0-9]+$"), description="RFC 3339, or milliseconds since 1970.")


_REQUIRED = {"name", "transport", "address"}


def _members(limits: NativeLimits, bounds: DestinationBounds) -> dict[str, Schema]:
    schedule = {
        "preset": nullable(one_of(PRESETS)),
        "schedule_s": listed(number(least=0, most=bounds.retry_wait_max_s), most=bounds.retries_max),
        "jitter": number("The share by which a wait varies.", least=0, most=1),
    }
    rate = number(least=limits.rate_min_per_s, most=limits.rate_max_per_s)
    return {
        "name": text(least=1, most=limits.name_characters_max, example="billing"),
        "description": text(most=limits.description_characters_max),
        "transport": one_of(Transport),
        "address": _address(limits),
        "filter": _filter(limits),
        "format": one_of(Format, default=Format.RAW),
        "retry": either(one_of(PRESETS), record(schedule, optional=("*",), closed=True)),
        "timeout_s": {
            **number("Of one attempt; by Apprise 5 at least.", least=0.1, most=bounds.timeout_max_s),
            "default": 15.0,
        },
        "rate_per_s": nullable(rate),
        "concurrency": whole(
            "Attempts at once. Without it 1 for Discord, Telegram and Apprise, 4 for email, 32 for others.",
            least=1,
            most=bounds.concurrency_max,
        ),
        "ordered": flag(
            "Events of one subject are sent one at a time, as they were accepted. Events of different subjects, and "
            "those without one, are in no order. Without it true for Discord, Telegram, email and Apprise."
        ),
        "incidents": one_of(
            IncidentStyle,
            "Whether the message that told an incident is edited when it goes on, by Discord and Telegram, or "
            "another one is posted. Editing wants `ordered`.",
        ),
        "quiet_hours": nullable(_quiet_hours(timezone_needed=False)),
        "enabled": flag("A disabled destination gets nothing new."),
    }


def _address(limits: NativeLimits) -> Schema:
    secret = text(least=1)
    url = text(least=1, most=limits.url_characters_max, example=_URL)
    webhook = {
        "url": url,
        "method": one_of(METHODS),
        "headers": either(mapping(text(), most=limits.headers_max), text("The mask keeps them.")),
    }
    return either(
        record(webhook, "Of a webhook.", optional=("method", "headers"), closed=True),
        record({"webhook_url": secret}, "Of Discord.", closed=True),
        record({"bot_token": secret, "user_id": text(least=1)}, "Of Discord, by a bot.", closed=True),
        record(
            {"bot_token": secret, "chat_id": either(text(least=1), whole())},
            "Of Telegram. Nothing is sent until there is a chat; a link may connect it.",
            optional=("chat_id",),
            closed=True,
        ),
        record({"to": listed(text(), least=1, most=MAIL_ADDRESSES_MAX)}, "Of email.", closed=True),
        record({"device_key": secret}, "Of a mailbox.", closed=True),
        record({"service": text(least=1)}, "Of Apprise: a service that the operator has set up.", closed=True),
        mapping(description="Of a change: the members that are not secret, and the secrets that change."),
        description="By transport; secrets are sealed, and shown masked.",
    )


def _quiet_hours(*, timezone_needed: bool) -> Schema:
    clock = text(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$", example="22:00")
    return record(
        {
            "start": clock,
            "end": {**clock, "examples": ["07:00"]},
            "timezone": text("An IANA name; UTC without it.", example="Europe/Berlin"),
        },
        "When only what is critical is sent. What is held back is sent afterwards, in order.",
        optional=() if timezone_needed else ("timezone",),
        closed=True,
    )


def _filter(limits: NativeLimits) -> Schema:
    patterns = listed(text(least=1, most=limits.pattern_characters_max), "Globs.", most=limits.patterns_max)
    return record(
        {
            "dialects": listed(one_of(Dialect)),
            "sources": patterns,
            "types": patterns,
            "subjects": patterns,
            "severities": listed(one_of(Severity)),
            "where": nullable(text("A condition on the data, in JMESPath.")),
        },
        "Which events it gets; an empty list does not restrict.",
        optional=("*",),
        closed=True,
    )


def schemas() -> dict[str, Schema]:
    """Return what these operations refer to."""
    return {
        "Destination": record(
            {
                "id": identifier("dst"),
                "name": text(example="billing"),
                "description": text(),
                "origin": one_of(Dialect, "By whose routes it was made.", default=Dialect.TOCSIN),
                "transport": one_of(Transport),
                "address": mapping(description="Its secrets masked.", example={"url": _URL}),
                "learned": mapping(
                    description="What the remote told of the address, such as the chat that a chat became.",
                    example={},
                ),
                "filter": mapping(example={"dialects": [], "sources": [], "types": ["user.*"]}),
                "format": one_of(Format),
                "retry": record(
                    {
                        "schedule_s": listed(number(least=0, example=5)),
                        "preset": nullable(one_of(PRESETS)),
                        "jitter": number(least=0, most=1, example=0.2),
                    }
                ),
                "timeout_s": number(example=15.0),
                "rate_per_s": nullable(number()),
                "concurrency": whole(least=1, example=32),
                "ordered": flag(example=False),
                "incidents": one_of(IncidentStyle),
                "quiet_hours": nullable(_quiet_hours(timezone_needed=True)),
                "enabled": flag(example=True),
                "paused": flag(example=False),
                "state": one_of(("active", "paused", "disabled")),
                "disabled_reason": nullable(text("Why the gateway disabled it by itself.")),
                "failing_since": nullable(time()),
                "revision": whole("Rises with every change.", least=0),
                "created_at": time(),
                "updated_at": time(),
                "condition_failure": record(
                    {"count": whole(least=1), "reason": text(), "event_id": identifier("evt"), "at": time()},
                    "How the filter's condition last failed; there only if it did.",
                ),
            },
            optional=("condition_failure",),
        )
    }
