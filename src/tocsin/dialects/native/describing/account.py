"""The routes of the account side: people, categories, usage, and PushGo's channels."""

from __future__ import annotations

from tocsin.core.organisation import Scope
from tocsin.dialects.native.account import BODY_BYTES_MAX
from tocsin.dialects.native.describing import telling_people
from tocsin.dialects.native.describing.lists import page, paging
from tocsin.dialects.native.limits import NativeLimits
from tocsin.pipeline.account import Account
from tocsin.web.openapi import Answer, Body, Operation
from tocsin.web.openapi.schemas import (
    Schema,
    always,
    either,
    listed,
    nullable,
    of_structs,
    record,
    ref,
    text,
    time,
    whole,
)

EXAMPLE_CHANNEL = "06K2RCNJY1Y7T7MZ58Q6R5PGXC"
_ACCOUNT = {
    "discord": {"enabled": False},
    "telegram": {"enabled": False},
    "email": {"enabled": True, "to": ["ops@example.com"]},
    "plan": "unlimited",
}
_CATEGORY_FAULTS = {404: ("category_not_found",)}


def operations(limits: NativeLimits) -> dict[str, Operation]:
    """Return the operations."""
    account = Answer(description="The account, its secrets masked.", schema=ref("Account"), example=_ACCOUNT)
    return (
        {
            "GET /api/v1/account": Operation(
                summary="Show the organisation's people", scope=Scope.READ, answers={200: account}
            ),
            "PUT /api/v1/account": Operation(
                summary="Replace the organisation's people",
                description="As a whole. A secret given as `***` keeps its value. A contact whose transport is not "
                "there, such as email without a mail server, can be kept and not enabled.",
                scope=Scope.MANAGE,
                body=Body(schema=ref("Account"), bytes_max=BODY_BYTES_MAX, example=_ACCOUNT),
                answers={200: account},
                errors={
                    403: ("plan_change_forbidden",),
                    409: ("changed_meanwhile",),
                    422: ("transport_unavailable",),
                },
            ),
            "GET /api/v1/usage": Operation(
                summary="Show what is used of the plan in this month",
                scope=Scope.READ,
                answers={200: Answer(description="The figures.", schema=ref("Usage"))},
            ),
        }
        | _categories()
        | _channels(limits)
        | telling_people.operations(limits)
    )


def _categories() -> dict[str, Operation]:
    members = {
        "name": text("Letters, digits and hyphens; kept in lower case.", least=1, example="bug"),
        "color": either(text(pattern="^#[0-9a-fA-F]{6}$"), whole(least=0, most=0xFFFFFF), example="#ff6b6b"),
        "emoji": nullable(text("One of them.", example="🐛")),
    }
    category = Answer(description="The category.", schema=ref("Category"))
    categories = record({"categories": listed(ref("Category"))})
    new = record(members, optional=("emoji",), closed=True)
    changes = record(members, optional=("*",), closed=True)
    return {
        "GET /api/v1/categories": Operation(
            summary="List the categories",
            scope=Scope.READ,
            answers={200: Answer(description="All of them, oldest first.", schema=categories)},
        ),
        "POST /api/v1/categories": Operation(
            summary="Make a category",
            scope=Scope.MANAGE,
            body=Body(schema=new, bytes_max=BODY_BYTES_MAX),
            answers={201: category},
            errors={403: ("category_limit_reached",), 409: ("name_taken", "changed_meanwhile")},
        ),
        "POST /api/v1/categories/quickstart": Operation(
            summary="Make the categories to start with",
            description="Those of bug, sale and question that are missing.",
            scope=Scope.MANAGE,
            answers={200: Answer(description="Those that were made.", schema=categories)},
            errors={403: ("category_limit_reached",), 409: ("name_taken", "changed_meanwhile")},
        ),
        "PATCH /api/v1/categories/{name}": Operation(
            summary="Change a category",
            scope=Scope.MANAGE,
            body=Body(schema=changes, bytes_max=BODY_BYTES_MAX),
            answers={200: category},
            errors={**_CATEGORY_FAULTS, 409: ("name_taken", "changed_meanwhile")},
        ),
        "DELETE /api/v1/categories/{name}": Operation(
            summary="Remove a category",
            description="Its events stay.",
            scope=Scope.MANAGE,
            answers={
                200: Answer(description="It is gone.", schema=record({"message": always("Category deleted")})),
            },
            errors=_CATEGORY_FAULTS,
        ),
    }


def _channels(limits: NativeLimits) -> dict[str, Operation]:
    members = {
        "name": text(least=1, most=limits.name_characters_max, example="ops"),
        "password": text(
            f"{limits.password_bytes_min} to {limits.password_bytes_max} bytes.",
            least=1,
            most=limits.password_bytes_max,
            example="pass-1234",
        ),
    }
    channel = Answer(description="The channel.", schema=ref("Channel"))
    one = "/api/v1/channels/{channel_id}"
    deleted = record({"id": text(example=EXAMPLE_CHANNEL), "deleted": always(True)})
    return {
        "GET /api/v1/channels": Operation(
            summary="List PushGo's channels",
            description="Oldest first.",
            scope=Scope.READ,
            parameters=paging(limits),
            answers={200: page("channels", ref("Channel"), "A page of channels.")},
        ),
        "POST /api/v1/channels": Operation(
            summary="Make a channel",
            scope=Scope.MANAGE,
            body=Body(schema=record(members, closed=True), bytes_max=limits.body_bytes_max),
            answers={201: channel},
            errors={400: ("channel_limit_exceeded",)},
        ),
        f"PATCH {one}": Operation(
            summary="Change a channel",
            description="A new password ends the old one at once.",
            scope=Scope.MANAGE,
            body=Body(schema=record(members, optional=("*",), closed=True), bytes_max=limits.body_bytes_max),
            answers={200: channel},
            errors={404: ("not_found",), 409: ("changed_meanwhile",)},
        ),
        f"DELETE {one}": Operation(
            summary="Remove a channel",
            description="Its past events and incidents stay.",
            scope=Scope.MANAGE,
            answers={200: Answer(description="It is gone.", schema=deleted)},
            errors={404: ("not_found",)},
        ),
    }


def schemas() -> dict[str, Schema]:
    """Return what these operations refer to."""
    limit = nullable(whole("Null is no limit.", least=0))
    return {
        **of_structs(Account),
        **telling_people.schemas(),
        "Category": record(
            {
                "name": text(example="bug"),
                "color": text(pattern="^#[0-9a-f]{6}$", example="#ff6b6b"),
                "emoji": nullable(text(example="🐛")),
            }
        ),
        "Channel": record({"id": text(example=EXAMPLE_CHANNEL), "name": text(example="ops"), "created_at": time()}),
        "Usage": record(
            {
                "categoriesUsed": whole(least=0),
                "categoriesLimit": limit,
                "eventsUsed": whole(least=0),
                "eventsLimit": limit,
                "resetDate": time(),
            }
        ),
    }
