"""Answers of the history, and errors in the dialect's form; pure."""

from __future__ import annotations

from typing import Any

import msgspec

from tocsin.core.clock import rfc3339
from tocsin.core.delivery import DeliveryPhase, phase_of
from tocsin.core.destination import Destination
from tocsin.core.errors import NotAuthenticated, TocsinError
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import dashed, prefixed
from tocsin.dialects.nativeframe.faults import InvalidFields
from tocsin.dialects.nativeframe.parsing import PHASES_OF_STATUS, PROJECT_SOURCE, is_name
from tocsin.engine.rows import DeliveryRow
from tocsin.web.errors import retry_after, status_of
from tocsin.web.http import Response, json_response

STATUS_OF_PHASE: dict[DeliveryPhase, str] = {
    phase: status for status, phases in PHASES_OF_STATUS.items() for phase in phases
}


def history_row(row: DeliveryRow, webhook_name: str) -> dict[str, Any]:
    """Return a delivery as the history shows it; what is not known yet is left out.

    Source: the published schema of a past event.
    """
    delivery = row.delivery
    shown: dict[str, Any] = {
        "id": dashed(delivery.id),
        "source": _source(row.event),
        "attempts": delivery.attempts_made,
        "status": STATUS_OF_PHASE[phase_of(delivery.state, delivery.attempts_made)],
        "created": rfc3339(delivery.created_ms, milliseconds=True),
        "webhookName": webhook_name,
    }
    if delivery.status_code is not None:
        shown["lastResponseCode"] = delivery.status_code
        # Without an answer there is no time that it took.
        if delivery.duration_ms is not None:
            shown["lastResponseTime"] = delivery.duration_ms
    if delivery.error is not None:
        shown["lastError"] = delivery.error
    return shown


def _source(event: Event) -> dict[str, Any]:
    """Return the event of a delivery; one of another dialect has the dialect's name for its project."""
    is_native = event.dialect is Dialect.NATIVEFRAME
    return {
        "id": (event.extension.get("source_id") if is_native else None) or dashed(event.id),
        "project": event.source.removeprefix(PROJECT_SOURCE) if is_native else event.dialect.value,
        "event": event.type,
        # The bytes themselves, so that numbers that no double holds come out as they came in.
        "payload": msgspec.Raw(event.data),
    }


def webhook_name(destination: Destination) -> str:
    """Return the name by which a destination's history is found: its own where the path takes it, else its id."""
    return destination.name if is_name(destination.name) else prefixed("dst", destination.id)


def error_response(error: TocsinError, internal: str | None) -> Response:
    """Return an error in the published form.

    Args:
        internal: for developers; None outside debug mode.
    """
    if isinstance(error, InvalidFields):
        fields = [
            {"name": fault.name, "reason": fault.reason, "errorCode": fault.code.value} for fault in error.faults
        ]
    else:
        fields = [{"name": name, "reason": reason, "errorCode": error.code} for name, reason in error.fields]
    headers = retry_after(error)
    if isinstance(error, NotAuthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    body = {"message": error.detail, "errorCode": error.code, "invalidFields": fields, "internal": internal}
    return json_response(status_of(error), body, headers)
