"""What the description says of the routes in ``tocsin.web.operations``."""

from __future__ import annotations

from tocsin.engine.rows import Durability
from tocsin.web.openapi.model import Answer, Chapter, Codes, Operation
from tocsin.web.openapi.schemas import Schema, always, one_of, record, text
from tocsin.web.operations import EXPOSITION_TYPE, NAME


def chapter() -> Chapter:
    """Return the chapter."""
    ready = record(
        {
            "status": always("ready"),
            "engine": text(example="sqlite"),
            "version": text(example="3.51.3"),
            "durability": one_of(Durability, "What an answer of 2xx promises of the event."),
        }
    )
    return Chapter(
        name=NAME,
        title="Operations",
        description="what an operator's machinery asks for.",
        operations={
            "GET /ready": Operation(
                summary="Say that the store can be reached and written",
                answers={200: Answer(description="It can.", schema=ready)},
            ),
            "GET /metrics": Operation(
                summary="Expose the metrics",
                answers={
                    200: Answer(
                        description="Prometheus's text format.",
                        content_type=EXPOSITION_TYPE,
                        schema=text(example="tocsin_store_writable 1.0"),
                    )
                },
            ),
        },
        security=lambda _: [],
        error=_error,
        everywhere=_everywhere,
    )


def _everywhere(_operation: Operation) -> Codes:
    return {500: ("internal_error",), 503: ("unavailable",)}


def _error(status: int, codes: tuple[str, ...]) -> Answer:
    error: Schema = record(
        {"status": always("unavailable" if status == 503 else "error"), "detail": text("What is wrong.")}
    )
    return Answer(description=f"Refused: {', '.join(codes)}.", schema=error)
