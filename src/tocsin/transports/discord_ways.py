"""How a Discord destination is reached: by a webhook's URL, or by a bot at the API's base."""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec

from tocsin.core.delivery import ErrorClass
from tocsin.core.destination import MASK
from tocsin.core.identifiers import OrganisationId
from tocsin.transports.addresses import Place, UrlFault, parse_url
from tocsin.transports.conversation import Headers, Veil, Verdict, host_of
from tocsin.transports.outbound import Sends
from tocsin.transports.protocol import Target

MACHINE = "discord"
"""What all share that this machine sends to Discord itself."""
ID = re.compile(r"[0-9]{1,20}", re.ASCII)

_HOSTS = frozenset({"discord.com", "discordapp.com", "ptb.discord.com", "canary.discord.com"})
_TOKEN = re.compile(r"[A-Za-z0-9.:_-]{1,256}", re.ASCII)
_WEBHOOK_PATH = re.compile(r"(?P<head>.*)(?P<id>/webhooks/[0-9]{1,20}/)(?P<token>[^/]+)", re.ASCII)
_HEAD = re.compile(r"(?:/api(?:/v[0-9]{1,2})?)?", re.ASCII)
"""What stands before a webhook of Discord's own form; with anything else a secret may be in it."""
_TRUSTED_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)
_OWN_WEBHOOK = re.compile(r"/webhooks/[0-9]{1,20}/[A-Za-z0-9_-]{1,256}(?:\?(?:thread_id=[0-9]{1,20})?)?", re.ASCII)
_SHOWN_QUERY = re.compile(r"thread_id=[0-9]{1,20}", re.ASCII)


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How a destination is reached.

    Attributes:
        root: what paths are appended to: the webhook's URL without its query, or the API's base.
        shown_root: the same without its secrets.
        organisation_id: on whose behalf.
        address: those who share it go one after another.
        crowd: those who rest when an answer tells of a global limit: a bot's, or this machine's where no bot sends.
        machine: those who rest when an answer shuts this machine out.
        is_at_discord: whether Discord counts what it refuses there, and what rests there rests here.
        query: what the webhook's URL asks for beside ``wait``, such as a thread.
        user_id: whom a bot writes to; empty for a webhook.
    """

    client: Sends
    root: str
    shown_root: str
    veil: Veil
    organisation_id: OrganisationId
    address: str
    crowd: str
    machine: str
    is_at_discord: bool
    query: str = ""
    secret_headers: Headers = ()
    user_id: str = ""

    @property
    def by_bot(self) -> bool:
        """Whether a bot sends."""
        return self.user_id != ""

    @property
    def limits(self) -> tuple[str, ...]:
        """Whose rests count."""
        return self.address, self.crowd, self.machine, *((MACHINE,) if self.is_at_discord else ())

    def path(self, channel_id: str, message_id: str | None = None) -> tuple[str, str]:
        """Return the path and the query for a new message, or for one that is to be edited."""
        path = f"/channels/{channel_id}/messages" if self.by_bot else "" if message_id is None else "/messages"
        if message_id is not None:
            return f"{path}/{message_id}", self.query
        return path, self.query if self.by_bot else "&".join(filter(None, ("wait=true", self.query)))

    def shown_query(self, query: str) -> str:
        """Return a query as an operator may see it."""
        parts = (part for part in query.split("&") if part)
        return "&".join(
            part if part == "wait=true" or _SHOWN_QUERY.fullmatch(part) is not None else MASK for part in parts
        )


class Ways:
    """Knows the way to each destination.

    Args:
        client: sends to what tenants choose.
        api_client: sends to what the operator chose, which may be private.
        api_base: the API, with its version, no slash at its end.
    """

    def __init__(self, client: Sends, api_client: Sends, api_base: str) -> None:
        self._client = client
        self._api_client = api_client
        self._base = api_base
        base = parse_url(api_base)
        self._api = None if isinstance(base, UrlFault) else (_root_of(base), _path_of(base.url))

    def way(self, target: Target) -> Way | Verdict:
        """Return how a destination is reached, or why it cannot be."""
        address = target.destination.address | target.secret_address
        url, token, user_id = (str(address.get(name) or "") for name in ("webhook_url", "bot_token", "user_id"))
        if url:
            return self._webhook(url, target.destination.organisation_id)
        if _TOKEN.fullmatch(token) is None or ID.fullmatch(user_id) is None:
            text = "the destination has neither a webhook's URL nor a bot's token with a user's id"
            return Verdict(error_class=ErrorClass.INTERNAL, error=text)
        return Way(
            client=self._api_client,
            root=self._base,
            shown_root=self._base,
            veil=Veil(token),
            organisation_id=target.destination.organisation_id,
            address=f"{token} {user_id}",
            crowd=f"bot {token}",
            machine=MACHINE,
            is_at_discord=True,
            secret_headers=(("Authorization", f"Bot {token}"),),
            user_id=user_id,
        )

    def _webhook(self, url: str, organisation_id: OrganisationId) -> Way | Verdict:
        # Below the operator's own base a webhook may be private, in this form and with nothing else in it.
        below = url[len(self._base) :] if url.startswith(f"{self._base}/") else ""
        client = self._client if _OWN_WEBHOOK.fullmatch(below) is None else self._api_client
        place = client.policy.check(url)
        if isinstance(place, UrlFault):
            error = f"URL is not allowed: {place.value}"
            return Verdict(error_class=ErrorClass.ADDRESS_REFUSED, error=error)
        whole, _, query = place.url.partition("?")
        root = whole.rstrip("/")
        host, path = _root_of(place), _path_of(root)
        found = _WEBHOOK_PATH.fullmatch(path)
        is_below = self._api is not None and host == self._api[0] and path.startswith(f"{self._api[1]}/")
        is_api = found is not None and (host, found["head"]) == self._api
        if found is not None and not is_api and _HEAD.fullmatch(found["head"]) is None:
            found = None
        shown = f"/{MASK}" if found is None else f"{found['head']}{found['id']}{MASK}"
        token = path if found is None else found["token"]
        tokens = [path, *(each for each in path.split("/") if each != "webhooks")] if found is None else [token]
        is_discords = place.host.removesuffix(".") in _HOSTS
        # Who may answer for others: Discord's API, and what the operator has in its place.
        speaks = found is not None and _TRUSTED_TOKEN.fullmatch(token) is not None
        speaks &= is_api or (
            is_discords and (place.scheme, place.port) == ("https", 443) and path.startswith("/api/")
        )
        kept = [part for part in query.split("&") if part and part.partition("=")[0] != "wait"]
        hidden = [part for part in kept if _SHOWN_QUERY.fullmatch(part) is None]
        # Discord's hosts lead to the same webhooks.
        address = f"{found['id']}{token}" if speaks and found is not None else host + path
        return Way(
            client=client,
            root=root,
            shown_root=host + shown,
            veil=Veil(*tokens, *map(unquote, tokens), *hidden, *(part.partition("=")[2] for part in hidden)),
            organisation_id=organisation_id,
            address=address,
            # Anybody may answer at a host that many share, and must not stop others' messages.
            crowd=MACHINE if speaks else address,
            machine=MACHINE if speaks else address,
            is_at_discord=is_below or is_discords,
            query="&".join(kept),
        )


def _root_of(place: Place) -> str:
    return f"{place.scheme}://{host_of(place)}"


def _path_of(url: str) -> str:
    path = url.partition("?")[0].partition("://")[2].partition("/")[2].rstrip("/")
    return f"/{path}" if path else ""
