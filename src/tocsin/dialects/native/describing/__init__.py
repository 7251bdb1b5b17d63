"""What the API's description says of the native routes."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.dialects.native.describing import (
    account,
    cloudevents,
    deliveries,
    destinations,
    incidents,
    jobs,
    organisations,
    reference,
    service_keys,
    stream,
)
from tocsin.dialects.native.describing.lists import DESTINATION_ID
from tocsin.dialects.native.limits import CloudEventsLimits, NativeLimits
from tocsin.pipeline.destinations import DestinationBounds
from tocsin.web.openapi import Answer, Chapter, Parameter, codes_everywhere
from tocsin.web.openapi.schemas import Schema, identifier, listed, one_of, record, ref, text

__all__ = ["chapter"]

_REASON = "must be a whole number from 1 to 100"
_DETAIL = f"limit {_REASON}"


def chapter(
    limits: NativeLimits,
    bounds: DestinationBounds,
    cloudevents_limits: CloudEventsLimits,
    event_filters: Sequence[Parameter],
) -> Chapter:
    """Return the chapter.

    Args:
        event_filters: the parameters by which one event is filtered, as the list of events describes them.
    """
    return Chapter(
        name="native",
        title="Native API",
        description=(
            "what an operator does, and what the five dialects leave out. Lists are paged by `cursor`, which is the "
            "`next_cursor` of the page before. An error lists every fault in `fields`. Every answer tells the rate "
            "limit in `X-RateLimit-Limit`, `-Remaining` and `-Reset`."
        ),
        operations={
            **destinations.operations(limits, bounds),
            **deliveries.operations(limits),
            **jobs.operations(limits),
            **stream.operations(event_filters),
            **cloudevents.operations(cloudevents_limits),
            **incidents.operations(limits),
            **account.operations(limits),
            **organisations.operations(limits),
            **service_keys.operations(limits),
            **reference.operations(),
        },
        security=lambda operation: [] if operation.scope is None else [{"apiKey": [operation.scope]}],
        error=_error,
        everywhere=codes_everywhere,
        path_parameters=_path_parameters(),
        schemas={
            **destinations.schemas(),
            **deliveries.schemas(),
            **jobs.schemas(),
            **incidents.schemas(),
            **account.schemas(),
            **organisations.schemas(),
            **service_keys.schemas(),
            "Error": record(
                {
                    "detail": text("What is wrong, for a person.", example=_DETAIL),
                    "code": text("What is wrong, for a program."),
                    "fields": listed(record({"name": text(example="limit"), "reason": text(example=_REASON)})),
                }
            ),
        },
        security_schemes={"apiKey": {"type": "http", "scheme": "bearer", "description": "An API key."}},
    )


def _path_parameters() -> dict[str, Schema]:
    return {
        "destination_id": DESTINATION_ID,
        "event_id": text("The event; any dialect's writing of its id is taken.", least=1),
        "delivery_id": identifier("dlv", "The delivery."),
        "job_id": identifier("job", "The job."),
        "incident_id": identifier("", "The incident."),
        "channel_id": text("The channel, 26 Crockford base32 digits.", example=account.EXAMPLE_CHANNEL),
        "service_key_id": identifier("", "The key's `kid`."),
        "name": text("The category, in any case.", least=1, example="bug"),
    }


def _error(_status: int, codes: tuple[str, ...]) -> Answer:
    return Answer(
        description=f"Refused: {', '.join(codes)}.",
        schema={**ref("Error"), "properties": {"code": one_of(codes)}},
    )
