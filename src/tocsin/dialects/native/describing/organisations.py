"""The routes of organisations."""

from __future__ import annotations

from tocsin.core.organisation import Scope
from tocsin.core.quota import Plan
from tocsin.dialects.native.describing.lists import page, paging
from tocsin.dialects.native.limits import NativeLimits
from tocsin.web.openapi import Answer, Body, Operation
from tocsin.web.openapi.schemas import Schema, identifier, nullable, one_of, record, ref, text, time


def operations(limits: NativeLimits) -> dict[str, Operation]:
    """Return the operations."""
    wanted = record(
        {
            "name": text(least=1, most=limits.name_characters_max, example="Ada's"),
            "plan": one_of(Plan, default=Plan.UNLIMITED),
        },
        optional=("plan",),
        closed=True,
    )
    made: Schema = {
        **ref("Organisation"),
        "properties": {"api_key": text("Of every scope; shown in this answer alone.")},
        "required": ["api_key"],
    }
    return {
        "GET /api/v1/organisations": Operation(
            summary="List the organisations",
            description="Oldest first. It takes the operator's key.",
            scope=Scope.OPERATOR,
            parameters=paging(limits),
            answers={200: page("organisations", ref("Organisation"), "A page of organisations.")},
        ),
        "POST /api/v1/organisations": Operation(
            summary="Make an organisation",
            description="With a first API key. It takes the operator's key.",
            scope=Scope.OPERATOR,
            body=Body(schema=wanted, bytes_max=limits.body_bytes_max),
            answers={201: Answer(description="It is made.", schema=made)},
        ),
    }


def schemas() -> dict[str, Schema]:
    """Return what these operations refer to."""
    return {
        "Organisation": record(
            {
                "id": identifier("org"),
                "name": text(example="Ada's"),
                "plan": one_of(Plan),
                "jwks_url": nullable(text()),
                "created_at": time(),
            }
        )
    }
