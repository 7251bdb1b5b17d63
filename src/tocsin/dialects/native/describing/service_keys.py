"""The routes of service keys."""

from __future__ import annotations

from tocsin.core.organisation import Scope
from tocsin.dialects.native.describing.lists import page, paging
from tocsin.dialects.native.limits import NativeLimits
from tocsin.web.openapi import Answer, Body, Operation
from tocsin.web.openapi.schemas import Schema, always, identifier, mapping, one_of, record, ref, time
from tocsin.web.tokens import ALGORITHMS


def operations(limits: NativeLimits) -> dict[str, Operation]:
    """Return the operations."""
    wanted = record(
        {
            "algorithm": one_of(ALGORITHMS, default=ALGORITHMS[0]),
            "private_jwk": mapping(
                description="A key pair of that algorithm (RFC 7517); left out, one is made. One for RS256 has "
                "2048 to 4096 bits, and p, q, dp, dq and qi."
            ),
        },
        optional=("*",),
        closed=True,
    )
    deleted = record({"kid": identifier(""), "deleted": always(True)})
    return {
        "GET /api/v1/service-keys": Operation(
            summary="List the keys that sign Native Frame's tokens",
            description="Oldest first; the newest of all signs.",
            scope=Scope.READ,
            parameters=paging(limits),
            answers={200: page("service_keys", ref("ServiceKey"), "A page of service keys.")},
        ),
        "POST /api/v1/service-keys": Operation(
            summary="Make a key that signs from now on",
            description="Tokens of the older ones stay good. It takes a live key.",
            scope=Scope.MANAGE,
            body=Body(schema=wanted, bytes_max=limits.body_bytes_max),
            answers={201: Answer(description="It is made.", schema=ref("ServiceKey"))},
            errors={403: ("live_key_required",), 409: ("service_key_limit_reached",)},
        ),
        "DELETE /api/v1/service-keys/{service_key_id}": Operation(
            summary="Remove such a key",
            description="Tokens that it signed are not good any more. It takes a live key.",
            scope=Scope.MANAGE,
            answers={200: Answer(description="It is gone.", schema=deleted)},
            errors={403: ("live_key_required",), 404: ("not_found",)},
        ),
    }


def schemas() -> dict[str, Schema]:
    """Return what these operations refer to."""
    return {
        "ServiceKey": record(
            {
                "kid": identifier("", "What its tokens name."),
                "algorithm": one_of(ALGORITHMS),
                "public_jwk": mapping(description="Its public half (RFC 7517)."),
                "created_at": time(),
            }
        )
    }
