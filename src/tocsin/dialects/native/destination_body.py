"""What a body says of a destination: pure functions from bytes to what ``pipeline.destinations`` takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tocsin.core.delivery import DeliveryPhase
from tocsin.core.destination import Destination, Filter, Format, IncidentStyle, Transport
from tocsin.core.event import Dialect, Severity
from tocsin.core.glob import glob_fault
from tocsin.core.quiet_hours import QuietHours, quiet_hours_fault
from tocsin.core.retry import NATIVE, PRESETS, RetryPolicy
from tocsin.dialects.native.addresses import address
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.phases import FINAL, phases
from tocsin.dialects.native.reading import (
    UNKNOWN_FIELD,
    Faults,
    Faulty,
    Field,
    Reader,
    choice,
    flag,
    listed,
    members,
    moment,
    nullable,
    number,
    object_in,
    plain_text,
    read_body,
    text,
    whole,
    word,
    wrong,
)
from tocsin.pipeline.catalog import unique_name
from tocsin.pipeline.destinations import DestinationBounds, DestinationSpec
from tocsin.pipeline.recovery import GIVEN_UP

_TIMEOUT_MIN_S = 0.1
_ZONE_CHARACTERS_MAX = 64
"""Twice as long as the longest name that there is."""


class Recovering(msgspec.Struct, frozen=True):
    """Which deliveries are to be sent again; times both included."""

    since_ms: int
    until_ms: int | None
    phases: frozenset[DeliveryPhase]


class DestinationBodies:
    """Reads the bodies of the routes of destinations.

    Args:
        bounds: the same that ``Destinations`` has; here they are told together with all other faults.
    """

    def __init__(self, *, limits: NativeLimits, bounds: DestinationBounds) -> None:
        self._limits = limits
        shared: dict[str, Field] = {
            "name": Field(text(1, limits.name_characters_max), required=True),
            "description": Field(text(0, limits.description_characters_max)),
            "filter": Field(_filter(limits)),
            "format": Field(choice(Format)),
            "retry": Field(_retry(bounds)),
            "timeout_s": Field(number(_TIMEOUT_MIN_S, bounds.timeout_max_s)),
            "rate_per_s": Field(nullable(number(limits.rate_min_per_s, limits.rate_max_per_s))),
            "concurrency": Field(whole(1, bounds.concurrency_max)),
            "ordered": Field(flag),
            "incidents": Field(choice(IncidentStyle)),
            "quiet_hours": Field(nullable(_quiet_hours)),
            "enabled": Field(flag),
        }
        self._creation = {
            **shared,
            "transport": Field(choice(Transport), required=True),
            "address": Field(lambda value: value, required=True),
        }
        self._change = {
            **{name: Field(field.read) for name, field in shared.items()},
            "paused": Field(flag),
            "transport": Field(lambda value: value),
            "address": Field(lambda value: value),
        }

    def creation(self, body: bytes) -> DestinationSpec:
        """Return the destination that a body asks for.

        Raises:
            MalformedBody, InvalidRequest: ``fields`` lists every fault.
        """
        faults = Faults()
        found = faults.members(object_in(body), self._creation, unknown=UNKNOWN_FIELD)
        if "transport" in found and "address" in found:
            reader = address(found["transport"], {}, self._limits)
            found["address"] = faults.read("address", reader, found["address"])
        faults.check()
        return DestinationSpec(**found)

    def change(self, body: bytes, before: Destination) -> dict[str, Any]:
        """Return the fields that a body replaces; a filter, an address and a schedule are replaced as a whole.

        Raises:
            MalformedBody, InvalidRequest: ``fields`` lists every fault.
        """
        faults = Faults()
        found = faults.members(object_in(body), self._change, unknown=UNKNOWN_FIELD)
        if found.pop("transport", before.transport) != before.transport:
            faults.add("transport", "cannot be changed; make another destination")
        if "address" in found:
            reader = address(before.transport, before.address, self._limits)
            found["address"] = faults.read("address", reader, found["address"])
        if found.get("name", before.name) != before.name and unique_name(before) is not None:
            faults.add("name", f"cannot be changed: the routes of {before.origin.value} find the destination by it")
        faults.check()
        return found

    def recovering(self, body: bytes) -> Recovering:
        """Return which deliveries a body wants to be sent again.

        Raises:
            MalformedBody, InvalidRequest: ``fields`` lists every fault.
        """
        found = read_body(body, _RECOVERING)
        return Recovering(found["since"], found.get("until"), found.get("status", GIVEN_UP))


_RECOVERING: Mapping[str, Field] = {
    "since": Field(moment, required=True),
    "until": Field(nullable(moment)),
    "status": Field(phases(FINAL)),
}


# -- filter ------------------------------------------------------------------------------------------------


def _filter(limits: NativeLimits) -> Reader:
    patterns = Field(listed(_pattern(limits.pattern_characters_max), most=limits.patterns_max))
    read_members = members(
        {
            "dialects": Field(listed(choice(Dialect), most=len(Dialect))),
            "sources": patterns,
            "types": patterns,
            "subjects": patterns,
            "severities": Field(listed(choice(Severity), most=len(Severity))),
            # What the expression says is judged with the address, where every dialect's destinations are.
            "where": Field(nullable(plain_text)),
        }
    )

    def read(value: Any) -> Filter:
        return Filter(**read_members(value))

    return read


def _pattern(characters_max: int) -> Reader:
    read_text = text(1, characters_max)

    def read(value: Any) -> str:
        pattern: str = read_text(value)
        fault = glob_fault(pattern)
        if fault is not None:
            raise wrong(fault)
        return pattern

    return read


def filter_shown(wanted: Filter) -> dict[str, Any]:
    """Return a filter as it is also sent."""
    return msgspec.structs.asdict(wanted)


# -- quiet hours -------------------------------------------------------------------------------------------

_quiet_members = members(
    {
        "start": Field(plain_text, required=True),
        "end": Field(plain_text, required=True),
        "timezone": Field(text(1, _ZONE_CHARACTERS_MAX)),
    }
)


def _quiet_hours(value: Any) -> QuietHours:
    quiet = QuietHours(**_quiet_members(value))
    fault = quiet_hours_fault(quiet)
    if fault is not None:
        raise Faulty(fault)
    return quiet


def quiet_hours_shown(quiet: QuietHours | None) -> dict[str, Any] | None:
    """Return quiet hours as they are also sent."""
    return None if quiet is None else msgspec.structs.asdict(quiet)


# -- retry -------------------------------------------------------------------------------------------------


def _retry(bounds: DestinationBounds) -> Reader:
    """Return a reader of a preset's name, or of ``{schedule_s or preset, jitter}``."""
    read_members = members(
        {
            "preset": Field(nullable(word(PRESETS))),
            "schedule_s": Field(listed(number(0, bounds.retry_wait_max_s), most=bounds.retries_max)),
            "jitter": Field(number(0, 1)),
        }
    )
    preset_reader = word(PRESETS)

    def read(value: Any) -> RetryPolicy:
        found = {"preset": preset_reader(value)} if isinstance(value, str) else read_members(value)
        preset = found.get("preset")
        schedule_s = found.get("schedule_s")
        if preset is None and schedule_s is None:
            raise wrong("must hold schedule_s or preset")
        policy = NATIVE if preset is None else PRESETS[preset]
        if preset is None or schedule_s is None:
            schedule_s = policy.schedule_s if schedule_s is None else schedule_s
        elif schedule_s != policy.schedule_s:
            raise wrong("must not hold a schedule_s that is not the preset's")
        return RetryPolicy(schedule_s, found.get("jitter", policy.jitter), max((policy.delay_max_s, *schedule_s)))

    return read


def retry_shown(policy: RetryPolicy) -> dict[str, Any]:
    """Return a schedule as it is also sent, with the name of the preset that it is."""
    return {
        "schedule_s": policy.schedule_s,
        "preset": next((name for name, preset in PRESETS.items() if preset == policy), None),
        "jitter": policy.jitter,
    }
