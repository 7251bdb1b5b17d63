"""A webhook's configuration: read from a body, made into a destination, shown again; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tocsin.core.destination import MASK, Destination, Filter, Transport
from tocsin.core.event import Dialect
from tocsin.core.headers import header_fault
from tocsin.core.retry import nativeframe
from tocsin.dialects.nativeframe.faults import Fault, FaultCode, InvalidFields, refuse
from tocsin.dialects.nativeframe.limits import NativeFrameLimits
from tocsin.dialects.nativeframe.parsing import PROJECT_SOURCE, name_faults, read_object, unknown_faults
from tocsin.pipeline.destinations import DestinationSpec

METHODS = ("POST", "PUT", "PATCH", "DELETE")
_FIELDS = frozenset({"event", "url", "method", "headers", "maxAttempts", "timeoutSeconds", "responseHeaders"})
_PLACE = ("project", "name")
"""What is shown of a webhook beside its fields, and stands in its path."""


class WebhookConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a client wants of a webhook; the headers still hold their secrets in clear."""

    project: str
    name: str
    event: str
    url: str
    method: str
    headers: dict[str, str]
    attempts_max: int
    timeout_s: float
    response_headers: dict[str, str]


def parse_webhook(path: Mapping[str, str], body: bytes, limits: NativeFrameLimits) -> WebhookConfig:
    """Return the configuration that a body holds; what it leaves out takes its default.

    ``project`` and ``name`` may be there as they are shown, if they are the path's.

    Raises:
        InvalidFields: lists every fault of path and body.
        MalformedBody: the body is not JSON.
    """
    faults = name_faults({field: path[field] for field in _PLACE})
    value = read_object(body, faults)
    if value is None:
        raise InvalidFields(faults)
    faults += [
        Fault(field, "must be the one in the path", FaultCode.CHOICE)
        for field in _PLACE
        if value.get(field, path[field]) != path[field]
    ]
    faults += unknown_faults(value, _FIELDS.union(_PLACE))
    members = _Members(value)
    config = WebhookConfig(
        project=path["project"],
        name=path["name"],
        event=members.text("event"),
        url=members.text("url"),
        method=members.choice("method", METHODS, "POST"),
        headers=members.headers("headers", limits.headers_max),
        attempts_max=int(members.number("maxAttempts", 1, limits.attempts_max, limits.attempts_default, whole=True)),
        timeout_s=members.number(
            "timeoutSeconds", limits.timeout_min_s, limits.timeout_max_s, limits.timeout_default_s, whole=False
        ),
        response_headers=members.headers("responseHeaders", limits.headers_max),
    )
    if config.event:
        faults += name_faults({"event": config.event})
    faults += members.faults
    faults += _header_faults(config.headers)
    refuse(faults)
    return config


def _header_faults(headers: Mapping[str, str]) -> list[Fault]:
    """Return the faults of request headers.

    A masked value is refused: a PUT replaces the whole, and the secret behind the mask is not to be had again.
    """
    faults = []
    for name, value in headers.items():
        reason = "is the mask of a hidden value; give the value" if value == MASK else header_fault(name, value)
        if reason is not None:
            faults.append(Fault(f"headers.{name}", reason, FaultCode.REFUSED))
    return faults


class _Members:
    """Reads members of an object and gathers their faults; a faulty one reads as its default."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self._value = value
        self.faults: list[Fault] = []

    def text(self, field: str) -> str:
        found = self._value.get(field)
        if isinstance(found, str) and found:
            return found
        if field not in self._value:
            self.faults.append(Fault(field, "is required", FaultCode.REQUIRED))
        else:
            self.faults.append(Fault(field, "must be a text that is not empty", FaultCode.TYPE))
        return ""

    def choice(self, field: str, choices: tuple[str, ...], default: str) -> str:
        found = self._value.get(field, default)
        if isinstance(found, str) and found in choices:
            return found
        self.faults.append(Fault(field, f"must be one of {', '.join(choices)}", FaultCode.CHOICE))
        return default

    def number(self, field: str, low: float, high: float, default: float, *, whole: bool) -> float:
        found = self._value.get(field, default)
        if isinstance(found, bool) or not isinstance(found, int if whole else int | float):
            self.faults.append(Fault(field, f"must be {'an integer' if whole else 'a number'}", FaultCode.TYPE))
            return default
        if not low <= found <= high:
            self.faults.append(Fault(field, f"must be {low:g} to {high:g}", FaultCode.RANGE))
            return default
        return found

    def headers(self, field: str, most: int) -> dict[str, str]:
        found = self._value.get(field, {})
        if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
            self.faults.append(Fault(field, "must be an object of texts", FaultCode.TYPE))
            return {}
        if len(found) > most:
            self.faults.append(Fault(field, f"must have at most {most} members", FaultCode.RANGE))
            return {}
        if "" in found:
            self.faults.append(Fault(field, "must have no empty name", FaultCode.PATTERN))
            return {}
        return found


def spec_of(config: WebhookConfig) -> DestinationSpec:
    """Return the destination that a configuration asks for."""
    return DestinationSpec(
        name=config.name,
        transport=Transport.WEBHOOK,
        address={"url": config.url, "method": config.method, "headers": config.headers},
        origin=Dialect.NATIVEFRAME,
        success_headers=config.response_headers,
        filter=Filter(sources=(PROJECT_SOURCE + config.project,), types=(config.event,)),
        retry=nativeframe(config.attempts_max),
        timeout_s=float(config.timeout_s),
    )


def changes_of(config: WebhookConfig, before: Destination) -> dict[str, Any]:
    """Return what a PUT changes of a webhook: all that it configures.

    One that Tocsin disabled by itself is given another chance; one that an operator disabled stays so.
    """
    spec = spec_of(config)
    changes: dict[str, Any] = {
        "address": spec.address,
        "success_headers": spec.success_headers,
        "filter": spec.filter,
        "retry": spec.retry,
        "timeout_s": spec.timeout_s,
    }
    return {**changes, "enabled": True} if before.disabled_reason is not None else changes


def project_of(destination: Destination) -> str | None:
    """Return the project whose events a webhook gets; None when its filter was changed to something else."""
    sources = destination.filter.sources
    if len(sources) == 1 and sources[0].startswith(PROJECT_SOURCE):
        return sources[0].removeprefix(PROJECT_SOURCE)
    return None


def shown(destination: Destination) -> dict[str, Any]:
    """Return a webhook as its routes show it; the values of its headers are masked."""
    timeout_s = destination.timeout_s
    return {
        "project": project_of(destination),
        "name": destination.name,
        "event": next(iter(destination.filter.types), None),
        "url": destination.address.get("url"),
        "method": destination.address.get("method", "POST"),
        "headers": destination.address.get("headers", {}),
        "maxAttempts": len(destination.retry.schedule_s) + 1,
        "timeoutSeconds": int(timeout_s) if timeout_s == int(timeout_s) else timeout_s,
        "responseHeaders": destination.success_headers,
    }
