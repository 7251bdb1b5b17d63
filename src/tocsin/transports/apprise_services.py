"""Which of Apprise's services there are, for whom, and how many attempts at them; Apprise need not be installed."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from tocsin.core.identifiers import DEFAULT_ORGANISATION, OrganisationId

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class AppriseLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Sending by Apprise.

    Attributes:
        threads_max: attempts at once, abandoned ones that still run included.
        abandoned_max: of these, attempts of one organisation at one service that outlasted their deadline and still
            run; while there are so many, nothing more is sent for it.
    """

    threads_max: int = 16
    abandoned_max: int = 2


class Services:
    """The services that the operator set up, and who may send to them.

    Args:
        urls: Apprise's, by name.
        for_everybody: whether every organisation may use them, or only the one that the installation came with.
    """

    def __init__(self, urls: Mapping[str, str], *, for_everybody: bool) -> None:
        self._urls = dict(urls)
        self._for_everybody = for_everybody

    def names(self, organisation_id: OrganisationId) -> frozenset[str]:
        """Return the services that this organisation may send to."""
        is_allowed = self._for_everybody or organisation_id == DEFAULT_ORGANISATION
        return frozenset(self._urls) if is_allowed else frozenset()

    def find_url(self, organisation_id: OrganisationId, name: object) -> str | None:
        """Return the secret URL of a service, or None where the organisation has no such service."""
        return self._urls[name] if isinstance(name, str) and name in self.names(organisation_id) else None


def read_services(given: object) -> dict[str, str]:
    """Return the URLs of services by name, given as a table or as the text of a JSON object.

    Raises:
        ValueError: it is neither. The text repeats nothing of it, not even a name, in whose place a secret may stand.
    """
    try:
        table = msgspec.json.decode(given) if isinstance(given, str) else given
        services = msgspec.convert(table, dict[str, str])
    except (msgspec.MsgspecError, RecursionError):
        raise ValueError('must be a table of texts, or as JSON {"name": "URL"}') from None
    if not all(_NAME.fullmatch(name) for name in services):
        raise ValueError("each name must be 1 to 64 letters, digits, hyphens and underscores")
    return services
