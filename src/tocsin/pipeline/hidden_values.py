"""The secrets of an address: shown masked, kept where a change leaves them out, and never led to another host."""

from __future__ import annotations

from typing import Any

from tocsin.core.destination import MASK, SECRET_ADDRESS_FIELDS, Transport
from tocsin.core.errors import InvalidRequest, Unprocessable
from tocsin.transports.addresses import Place, parse_url


def leads_elsewhere(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Return whether a webhook's new URL has another scheme, host or port than its old one."""
    places = [parse_url(str(address.get("url", ""))) for address in (before, after)]
    origins = [(place.scheme, place.host, place.port) for place in places if isinstance(place, Place)]
    return len(origins) == len(places) and origins[0] != origins[1]


def refuse_hidden(kept: dict[str, str], given: dict[str, Any]) -> None:
    """Return if an address leaves none of the stored headers in place: their values were given for another host.

    Whoever may change a destination may not read them, and must not have them sent to a host of their own.

    Raises:
        Unprocessable: ``hidden_value_required``; ``fields`` lists the headers to give again.
    """
    headers = given.get("headers", dict.fromkeys(kept, MASK))
    names = [name for name, value in headers.items() if value == MASK] if isinstance(headers, dict) else []
    if names:
        told = f"{', '.join(names)}: hidden values are not sent to another host; give them again, or headers {{}}"
        fields = tuple((f"address.headers.{name}", "give the value again for another host") for name in names)
        raise Unprocessable(told, code="hidden_value_required", fields=fields)


def unmasked(given: dict[str, Any], kept: dict[str, Any], transport: Transport) -> dict[str, Any]:
    """Return an address with the stored secrets where it leaves them out or masks them, and without what is None.

    Raises:
        InvalidRequest: a mask stands where nothing is stored.
    """
    secrets = SECRET_ADDRESS_FIELDS[transport]
    whole = {name: value for name, value in kept.items() if name in secrets}
    for name, value in given.items():
        whole[name] = _filled(value, kept.get(name), f"address.{name}") if name in secrets else value
    return {name: value for name, value in whole.items() if value is not None}


def _filled(value: Any, kept: Any, path: str) -> Any:
    if isinstance(value, dict):
        known = kept if isinstance(kept, dict) else {}
        return {
            name: _filled(each, known.get(name), f"{path}.{name}") for name, each in value.items() if each is not None
        }
    if value != MASK:
        return value
    if kept is None:
        reason = f"{MASK} stands for a stored value, and there is none"
        raise InvalidRequest(f"{path}: {reason}", fields=((path, reason),))
    return kept


def masked(value: Any) -> Any:
    """Return a secret as it is shown; of several in one, the names stay."""
    return dict.fromkeys(value, MASK) if isinstance(value, dict) else MASK
