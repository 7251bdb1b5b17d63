"""How a Discord destination is reached: by a webhook's URL, or by a bot at the API's base."""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec

from tocsin.core.delivery import ErrorClass
from tocsin.core.destination import MASK
from tocsin.transports.addresses import UrlFault, parse_url
from tocsin.transports.conversation import Headers, Veil, Verdict, host_of
from tocsin.transports.outbound import Sends
from tocsin.transports.protocol import Target

MACHINE = "discord"
"""What all share that this machine sends to Discord itself."""
ID = re.compile(r"[0-9]{1,20}", re.ASCII)

_HOSTS = frozenset({"discord.com", "discordapp.com", "ptb.discord.com", "canary.discord.com"})
_TOKEN = re.compile(r"[A-Za-z0-9.:_-]{1,256}", re.ASCII)
_WEBHOOK_PATH = re.compile(r"(?P<head>.*)(?P<id>/webhooks/[^/]+/)(?P<token>[^/]+)")
_OWN_WEBHOOK = re.compile(r"/webhooks/[0-9]{1,20}/[A-Za-z0-9_-]{1,256}(?:\?(?:thread_id=[0-9]{1,20})?)?", re.ASCII)
_SHOWN_QUERY = re.compile(r"thread_id=[0-9]{1,20}", re.ASCII)


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How a destination is reached.

    Attributes:
        root: what paths are appended to: the webhook's URL without its query, or the API's base.
        shown_root: the same without its secrets.
        address: those who share it go one after another.
        crowd: those who share a global limit: a bot's, or this machine's where no bot sends.
        machine: those who are shut out together.
        query: what the webhook's URL asks for beside ``wait``, such as a thread.
        user_id: whom a bot writes to; empty for a webhook.
    """

    client: Sends
    root: str
    shown_root: str
    veil: Veil
    address: str
    crowd: str
    machine: str
    query: str = ""
    secret_headers: Headers = ()
    user_id: str = ""

    @property
    def by_bot(self) -> bool:
        """Whether a bot sends."""
        return self.user_id != ""

    @property
    def limits(self) -> tuple[str, str, str]:
        """Whose rests count."""
        return self.address, self.crowd, self.machine

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
        self._hosts = _HOSTS if isinstance(base, UrlFault) else _HOSTS | {base.host}

    def way(self, target: Target) -> Way | Verdict:
        """Return how a destination is reached, or why it cannot be."""
        address = target.destination.address | target.secret_address
        url, token, user_id = (str(address.get(name) or "") for name in ("webhook_url", "bot_token", "user_id"))
        if url:
            return self._webhook(url)
        if _TOKEN.fullmatch(token) is None or ID.fullmatch(user_id) is None:
            text = "the destination has neither a webhook's URL nor a bot's token with a user's id"
            return Verdict(error_class=ErrorClass.INTERNAL, error=text)
        return Way(
            client=self._api_client,
            root=self._base,
            shown_root=self._base,
            veil=Veil(token),
            address=f"{token} {user_id}",
            crowd=f"bot {token}",
            machine=MACHINE,
            secret_headers=(("Authorization", f"Bot {token}"),),
            user_id=user_id,
        )

    def _webhook(self, url: str) -> Way | Verdict:
        # Below the operator's own base a webhook may be private, in this form and with nothing else in it.
        below = url[len(self._base) :] if url.startswith(f"{self._base}/") else ""
        client = self._client if _OWN_WEBHOOK.fullmatch(below) is None else self._api_client
        place = client.policy.check(url)
        if isinstance(place, UrlFault):
            error = f"URL is not allowed: {place.value}"
            return Verdict(error_class=ErrorClass.ADDRESS_REFUSED, error=error)
        whole, _, query = place.url.partition("?")
        root = whole.rstrip("/")
        host = f"{place.scheme}://{host_of(place)}"
        path = "/" + root.partition("://")[2].partition("/")[2]
        found = _WEBHOOK_PATH.fullmatch(path)
        shown = f"/{MASK}" if found is None else f"{found['head']}{found['id']}{MASK}"
        token = path if found is None else found["token"]
        is_discord = place.host in self._hosts
        kept = [part for part in query.split("&") if part and part.partition("=")[0] != "wait"]
        hidden = [part for part in kept if _SHOWN_QUERY.fullmatch(part) is None]
        # Discord's hosts lead to the same webhooks.
        address = f"{found['id']}{found['token']}" if is_discord and found is not None else host + path
        return Way(
            client=client,
            root=root,
            shown_root=host + shown,
            veil=Veil(token, unquote(token), *hidden, *(part.partition("=")[2] for part in hidden)),
            address=address,
            # Anybody may answer for others at a host that many share, and must not stop their messages.
            crowd=MACHINE if is_discord else address,
            machine=MACHINE if is_discord else address,
            query="&".join(kept),
        )
