"""``/``, /healthz, /readyz and /gateway/profile."""

from __future__ import annotations

import msgspec

from tocsin.core.organisation import Scope
from tocsin.dialects.pushgo.describing.shared import enveloped
from tocsin.web.openapi import Answer, Operation
from tocsin.web.openapi.schemas import always, text


def operations() -> dict[str, Operation]:
    """Return the operations."""
    return {
        "GET /": Operation(
            summary="Say who answers here",
            description="A browser, whose `Accept` names `text/html`, gets a page.",
            answers={200: _root()},
        ),
        "GET /healthz": Operation(
            summary="Say that the process lives",
            answers={
                200: enveloped(
                    "It does.",
                    {
                        "status": always("ok"),
                        "private_channel_enabled": always(False),
                        "private_runtime_ready": always(False),
                    },
                )
            },
        ),
        "GET /readyz": Operation(
            summary="Say that events can be stored",
            answers={200: enveloped("They can.", {"status": always("ok")})},
        ),
        "GET /gateway/profile": Operation(
            summary="Say what the gateway can do",
            description="There is no private socket.",
            scope=Scope.READ,
            answers={
                200: enveloped(
                    "What it can.", {"private_channel_enabled": always(False), "private_enabled": always(False)}
                )
            },
        ),
    }


def _root() -> Answer:
    page = Answer(
        description="A page.", content_type="text/html; charset=utf-8", schema=text(example="<!doctype html>")
    )
    told = enveloped("The program.", {"name": always("Tocsin"), "version": text(example="0.1.0")})
    return msgspec.structs.replace(told, also=(page,))
