"""Trying Tocsin out: sample objects, a receiver on this machine, and a curl line for each dialect."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from tocsin.cli.gateway.receiver import Receiver
from tocsin.core.destination import Filter, Transport
from tocsin.core.event import Dialect
from tocsin.core.identifiers import DEFAULT_ORGANISATION, ChannelId, KeyId, crockford, prefixed
from tocsin.core.organisation import Category, Channel
from tocsin.core.retry import PROMPTJANG
from tocsin.pipeline.account import DiscordContact
from tocsin.pipeline.destinations import DestinationSpec

if TYPE_CHECKING:
    from tocsin.bootstrap import Gateway
    from tocsin.bootstrap.parts import Parts, UseCases
    from tocsin.settings import Settings

_NAME = "try-out"
_CATEGORY = "bug"
_CHAT_PATH = "/try-out-chat"
"""Stands for a Discord channel, at the receiver."""
_FROM_ANYWHERE = (Dialect.PUSHGO, Dialect.PINGPILOT, Dialect.BUILDABLE, Dialect.NATIVEFRAME)


class Samples(msgspec.Struct, frozen=True):
    """What the curl lines name."""

    channel: str
    password: str
    endpoint: str
    endpoint_secret: str
    secrets: tuple[str, str]


def allow_loopback(settings: Settings) -> None:
    """Let destinations reach this machine's loopback address, where the receiver is."""
    networks = ",".join(filter(None, (settings.values.outbound_allow, "127.0.0.1/32")))
    settings.values = settings.values.model_copy(update={"outbound_allow": networks})


async def prepare(running: Gateway, receiver: Receiver, receiver_url: str, base_url: str) -> None:
    """Make the sample objects anew and print the curl lines."""
    parts, use = running.parts, running.use
    await _remove_samples(parts, use)
    samples = await _make_samples(parts, use, receiver_url)
    receiver.expect(samples.secrets)
    if running.first_keys is not None:
        key = running.first_keys.api_key
    else:
        key = (await use.keys.create(DEFAULT_ORGANISATION, _NAME)).text
        click.echo(f"API key       {key}   (made for this try-out)")
    click.echo(f"Receiver      {receiver_url}   (prints below what arrives)\n")
    for title, line in curl_lines(base_url, key, samples):
        click.echo(f"# {title}\n{line}\n")
    sys.stdout.flush()


async def _remove_samples(parts: Parts, use: UseCases) -> None:
    for destination in parts.catalog.destinations(DEFAULT_ORGANISATION):
        if destination.name == _NAME:
            await use.destinations.delete(DEFAULT_ORGANISATION, destination.id)
    for channel in parts.catalog.channels(DEFAULT_ORGANISATION):
        if channel.name == _NAME:
            await parts.catalog.remove(Channel, DEFAULT_ORGANISATION, channel.id)
    for key in parts.catalog.keys(DEFAULT_ORGANISATION):
        if key.name == _NAME:
            await use.keys.revoke(DEFAULT_ORGANISATION, key.id)


async def _make_samples(parts: Parts, use: UseCases, receiver_url: str) -> Samples:
    now_ms = parts.clock.now_ms()
    password = os.urandom(6).hex()
    channel = Channel(
        id=ChannelId(os.urandom(16)),
        organisation_id=DEFAULT_ORGANISATION,
        name=_NAME,
        password_hash=await use.passwords.hash(password),
        created_ms=now_ms,
    )
    await parts.catalog.save(channel)
    await _let_pingpilot_in(parts, use, now_ms, f"{receiver_url}{_CHAT_PATH}")
    everything = DestinationSpec(
        name=_NAME,
        transport=Transport.WEBHOOK,
        address={"url": f"{receiver_url}/all"},
        filter=Filter(dialects=_FROM_ANYWHERE),
    )
    endpoint_id = use.destinations.new_id()
    endpoint = prefixed("ep", endpoint_id)
    for_endpoint = DestinationSpec(
        name=_NAME,
        transport=Transport.WEBHOOK,
        address={"url": f"{receiver_url}/endpoint"},
        origin=Dialect.PROMPTJANG,
        filter=Filter(dialects=(Dialect.PROMPTJANG,), sources=(f"promptjang/endpoint/{endpoint}",)),
        retry=PROMPTJANG,
    )
    _, secret = await use.destinations.create(DEFAULT_ORGANISATION, everything)
    _, endpoint_secret = await use.destinations.create(DEFAULT_ORGANISATION, for_endpoint, id=endpoint_id)
    return Samples(crockford(channel.id), password, endpoint, endpoint_secret, (secret, endpoint_secret))


async def _let_pingpilot_in(parts: Parts, use: UseCases, now_ms: int, chat_url: str) -> None:
    """PingPilot takes events of known categories only, and only where somebody would be told."""
    if parts.catalog.find_category(DEFAULT_ORGANISATION, _CATEGORY) is None:
        bug = Category(
            id=KeyId(parts.ids.make(now_ms)),
            organisation_id=DEFAULT_ORGANISATION,
            name=_CATEGORY,
            color=0xFF6B6B,
            emoji="🐛",
            created_ms=now_ms,
        )
        await parts.catalog.save(bug)
    if use.accounts.unreachable(DEFAULT_ORGANISATION) is not None or _tells_an_earlier_receiver(parts):
        account = use.accounts.get(DEFAULT_ORGANISATION)
        chat = DiscordContact(enabled=True, webhook_url=chat_url)
        # Data from where there was a mail server may enable email; without one nothing enables it.
        email = msgspec.structs.replace(
            account.email, enabled=account.email.enabled and Transport.EMAIL in parts.transports
        )
        wanted = msgspec.structs.replace(account, discord=chat, email=email)
        await use.accounts.replace(DEFAULT_ORGANISATION, wanted, may_change_plan=False)


def _tells_an_earlier_receiver(parts: Parts) -> bool:
    """Return whether the account's Discord contact is the receiver of an earlier try-out."""
    found = parts.catalog.find_named_destination(DEFAULT_ORGANISATION, Dialect.PINGPILOT, Transport.DISCORD.value)
    if found is None:
        return False
    return str(parts.vault.target(found).secret_address.get("webhook_url", "")).endswith(_CHAT_PATH)


def curl_lines(base_url: str, key: str, samples: Samples) -> list[tuple[str, str]]:
    """Return a title and a line to paste for each dialect."""

    def curl(path: str, body: dict[str, Any], *headers: str) -> str:
        extra = "".join(f" -H '{header}'" for header in headers)
        return f"curl -sS {base_url}{path} -H 'Content-Type: application/json'{extra} -d '{json.dumps(body)}'"

    bearer = f"Authorization: Bearer {key}"
    incident = {
        "channel_id": samples.channel,
        "password": samples.password,
        "title": "Database lag",
        "status": "ongoing",
        "message": "Replica delay > 30s",
        "severity": "high",
        "event_time": 1713750000,
    }
    bug = {"category": _CATEGORY, "description": "Checkout fails", "fields": {"service": "api", "retries": 3}}
    order = json.dumps({"event_type": "order.created", "payload": {"order_id": "ORD-001"}})
    signed = (
        f"BODY='{order}'; TS=$(date +%s); SIG=$(printf '%s.%s' \"$TS\" \"$BODY\""
        f" | openssl dgst -sha256 -hmac '{samples.endpoint_secret}' | sed 's/^.* //');"
        f" curl -sS {base_url}/e/{samples.endpoint} -H '{bearer}'"
        f' -H "X-PJ-Signature: $SIG" -H "X-PJ-Timestamp: $TS" -d "$BODY"'
    )
    return [
        ("PushGo", curl("/event/create", incident)),
        ("PingPilot", curl("/api/v1/event", bug, bearer)),
        ("Buildable", curl("/emit", {"event": "user.created", "payload": {"id": 7}}, f"X-Buildable-Secret: {key}")),
        ("Native Frame", curl("/events/v2/projects/shop/events/order-paid", {"order": 42}, bearer)),
        ("PromptJang", signed),
    ]
