"""The routes of this description itself."""

from __future__ import annotations

from tocsin.web.openapi import Answer, Operation
from tocsin.web.openapi.schemas import Schema, mapping, text

_DOCUMENT = {"openapi": "3.1.1", "info": {"title": "Tocsin", "version": "0.1.0"}, "paths": {}}


def operations() -> dict[str, Operation]:
    """Return the operations."""
    document = _kept("Describe the API", "An OpenAPI 3.1 document.", "application/json", mapping(example=_DOCUMENT))
    page = text(example="<!doctype html>")
    style = text(example="body { margin: 0 }")
    script = text(example="show(await answer.json());")
    return {
        "GET /api/v1/openapi.json": document,
        "GET /docs/api": _kept("Show the API to a person", "A page.", "text/html; charset=utf-8", page),
        "GET /docs/api/page.css": _kept("Load its style", "The style.", "text/css; charset=utf-8", style),
        "GET /docs/api/page.js": _kept("Load its script", "The script.", "text/javascript; charset=utf-8", script),
    }


def _kept(summary: str, description: str, content_type: str, schema: Schema) -> Operation:
    return Operation(
        summary=summary,
        description="No key is needed.",
        answers={
            200: Answer(description=description, content_type=content_type, schema=schema, headers={"ETag": text()}),
            304: Answer(description="It is what `If-None-Match` names."),
        },
    )
