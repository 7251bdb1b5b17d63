"""The ways to Discord: who speaks for all of it, and what is shown of a webhook's URL."""

from __future__ import annotations

import pytest

from remotes import shipment
from tocsin.core.destination import Transport
from tocsin.transports.addresses import ANYWHERE, AddressPolicy
from tocsin.transports.discord_ways import MACHINE, Way, Ways
from tocsin.transports.outbound import Client

DISCORD = "https://discord.com/api/v10"
PROXY = "https://proxy.example:8443/discord/api/v10"


def way(url: str, base: str = DISCORD) -> Way:
    sent = shipment(Transport.DISCORD, address={}, secret={"webhook_url": url})
    found = Ways(Client(AddressPolicy(ANYWHERE)), Client(AddressPolicy(ANYWHERE)), base).way(sent.target)
    assert isinstance(found, Way)
    return found


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://discord.com/api/webhooks/1/token", DISCORD),
        ("https://discord.com:443/api/v9/webhooks/1/token?thread_id=2", DISCORD),
        ("https://canary.discord.com/api/webhooks/1/token/", DISCORD),
        ("https://discordapp.com/api/webhooks/1/token", PROXY),
        (f"{PROXY}/webhooks/1/token", PROXY),
    ],
)
def test_discords_own_webhooks_speak_for_all_and_are_one(url: str, base: str) -> None:
    found = way(url, base)
    assert (found.crowd, found.machine, found.is_at_discord) == (MACHINE, MACHINE, True)
    assert found.address == "/webhooks/1/token"


@pytest.mark.parametrize(
    ("url", "is_at_discord"),
    [
        # Discord counts what it refuses there, but it is no webhook that says so, or nobody knows who does.
        ("http://discord.com/api/webhooks/1/token", True),
        ("https://discord.com:8443/api/webhooks/1/token", True),
        ("https://discord.com./anything", True),
        ("https://discord.com/webhooks/1/token", True),
        ("https://discord.com/api/x/webhooks/1/token", True),
        ("https://discord.com/api/webhooks/1/token/slack", True),
        ("https://discord.com/api/webhooks/one/token", True),
        ("https://discord.com/api/webhooks/1/%2e%2e", True),
        (f"{PROXY}/channels/1", True),
        # Others at the host of the API, or at a name like Discord's.
        ("https://proxy.example:8443/webhooks/1/token", False),
        ("https://proxy.example:8443/discord/api/v100/webhooks/1/token", False),
        ("https://proxy.example:9999/discord/api/v10/webhooks/1/token", False),
        ("http://proxy.example:8443/discord/api/v10/webhooks/1/token", False),
        ("https://discord.com.example/api/webhooks/1/token", False),
    ],
)
def test_nobody_else_speaks_for_others(url: str, is_at_discord: bool) -> None:
    found = way(url, PROXY)
    assert found.crowd == found.machine == found.address
    assert found.address.startswith(("http://", "https://"))
    assert found.is_at_discord is is_at_discord
    # What rests at Discord rests there too.
    assert (MACHINE in found.limits) is is_at_discord


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/api/webhooks/1/CANARY-token", "/api/webhooks/1/***"),
        ("/api/v10/webhooks/1/CANARY-token", "/api/v10/webhooks/1/***"),
        ("/webhooks/1/CANARY-token", "/webhooks/1/***"),
        ("/CANARY-in-head/webhooks/1/CANARY-token", "/***"),
        ("/api/v10/CANARY-in-head/webhooks/1/CANARY-token", "/***"),
        ("/api/webhooks/CANARY-id/CANARY-token", "/***"),
        ("/api/webhooks/1/CANARY-token/slack", "/***"),
        ("/a/CANARY-one%2Ftwo/b", "/***"),
    ],
)
def test_no_part_that_may_be_secret_is_shown(path: str, shown: str) -> None:
    found = way(f"https://hooks.example{path}")
    assert found.shown_root == f"https://hooks.example{shown}"
    for echo in (*path.split("/"), path, "CANARY-one/two" if "two" in path else ""):
        assert "CANARY" not in found.veil.text(f"no {echo} here")
    assert found.veil.text("unknown webhooks") == "unknown webhooks"


def test_the_path_of_the_operators_api_is_shown() -> None:
    assert way(f"{PROXY}/webhooks/1/CANARY-token", PROXY).shown_root == f"{PROXY}/webhooks/1/***"
