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
            "GET /unsubscribe/{token}": Operation(
                summary="Ask whether an address is to get no more mails",
                description="Changes nothing.",
                answers={200: _page("Asks, or says that it gets none."), 404: _page("The link is not known.")},
            ),
            "POST /unsubscribe/{token}": Operation(
                summary="Take an address out of a destination",
                description=(
                    "What a mail's `List-Unsubscribe` names (RFC 8058); the body does not count. The last address of "
                    "a destination stays, and the destination is disabled. To repeat it changes nothing."
                ),
                answers={200: _page("It gets no more of these mails."), 404: _page("The link is not known.")},
                errors={409: ("changed_meanwhile",)},
            ),
        },
        path_parameters={"token": text("From the mail; whoever has it may do this, and nothing else.")},
        security=lambda _: [],
        error=_error,
        everywhere=_everywhere,
    )


def _page(description: str) -> Answer:
    return Answer(
        description=description, content_type="text/html; charset=utf-8", schema=text(example="<!doctype html>")
    )


def _everywhere(_operation: Operation) -> Codes:
    return {500: ("internal_error",), 503: ("unavailable",)}


def _error(status: int, codes: tuple[str, ...]) -> Answer:
    error: Schema = record(
        {"status": always("unavailable" if status == 503 else "error"), "detail": text("What is wrong.")}
    )
    return Answer(description=f"Refused: {', '.join(codes)}.", schema=error)
