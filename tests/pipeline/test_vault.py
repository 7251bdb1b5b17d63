"""Sealed secrets: bound to their place and their key, and nowhere to be read on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.remote import NOWHERE
from pipeline.stage import Stage, run
from tocsin.core.destination import Transport
from tocsin.core.identifiers import DEFAULT_ORGANISATION
from tocsin.core.signature import make_secret
from tocsin.pipeline.destinations import DestinationSpec
from tocsin.pipeline.vault import KEY_BYTES, SealBroken, Vault

KEY = b"k" * KEY_BYTES


def test_what_is_sealed_opens_at_its_place_and_is_sealed_anew_each_time() -> None:
    vault = Vault(KEY, os.urandom)
    one, other = vault.seal(b"a secret", b"here"), vault.seal(b"a secret", b"here")
    assert one != other
    assert b"a secret" not in one
    assert vault.open(one, b"here") == vault.open(other, b"here") == b"a secret"
    assert vault.open(vault.seal(b"", b""), b"") == b""


def test_at_another_place_it_does_not_open() -> None:
    vault = Vault(KEY, os.urandom)
    with pytest.raises(SealBroken):
        vault.open(vault.seal(b"a secret", b"here"), b"there")


def test_with_another_key_it_does_not_open_and_the_error_names_no_secret() -> None:
    sealed = Vault(KEY, os.urandom).seal(b"a secret", b"here")
    with pytest.raises(SealBroken) as caught:
        Vault(b"x" * KEY_BYTES, os.urandom).open(sealed, b"here")
    assert "a secret" not in str(caught.value)
    assert "TOCSIN_SECRET_KEY" in caught.value.detail


def test_a_text_of_which_any_bit_was_changed_does_not_open() -> None:
    vault = Vault(KEY, os.urandom)
    sealed = vault.seal(b"a secret", b"here")
    for place in range(len(sealed)):
        damaged = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        with pytest.raises(SealBroken):
            vault.open(damaged, b"here")


def test_a_text_that_was_cut_off_does_not_open() -> None:
    vault = Vault(KEY, os.urandom)
    sealed = vault.seal(b"a secret", b"here")
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            vault.open(sealed[:length], b"here")


def test_one_destination_s_secrets_do_not_open_for_another(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        mine, yours = await stage.destination("mine"), await stage.destination("yours")
        stolen = type(yours)(**{name: getattr(yours, name) for name in yours.__struct_fields__} | {"id": mine.id})
        with pytest.raises(SealBroken):
            stage.vault.target(stolen)

    run(tmp_path, scenario, sending=False)


CANARIES = {
    "header": "canary-header-4a1f",
    "token": "123456:canary-bot-token-77",
    "discord": "https://discord.com/api/webhooks/1/canary-webhook-99",
    "device": "canary-device-key-31",
    "signing secret": make_secret(b"canary-signing-secret-bytes-0123"),
}


def found_in(directory: Path, texts: set[str]) -> set[str]:
    """Return those of the texts that any file below a directory holds."""
    contents = [path.read_bytes() for path in directory.rglob("*") if path.is_file()]
    return {text for text in texts if any(text.encode() in content for content in contents)}


def test_no_secret_of_a_destination_is_in_clear_in_any_file(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = stage.destinations.create
        headers = {"url": NOWHERE, "headers": {"Authorization": CANARIES["header"]}}
        hook, _ = await made(
            DEFAULT_ORGANISATION,
            DestinationSpec(name="public-canary", transport=Transport.WEBHOOK, address=headers),
            secret=CANARIES["signing secret"],
        )
        for transport, address in (
            (Transport.TELEGRAM, {"bot_token": CANARIES["token"], "chat_id": 7}),
            (Transport.DISCORD, {"webhook_url": CANARIES["discord"]}),
            (Transport.MAILBOX, {"device_key": CANARIES["device"]}),
        ):
            await made(DEFAULT_ORGANISATION, DestinationSpec(name="a", transport=transport, address=address))
        _, rotated = await stage.destinations.rotate_secret(DEFAULT_ORGANISATION, hook.id)
        await stage.destinations.change(
            DEFAULT_ORGANISATION, hook.id, {"address": {"url": NOWHERE, "headers": {"X": "canary-changed-52"}}}
        )
        secrets.update([*CANARIES.values(), rotated, "canary-changed-52"])
        secrets.update([text.removeprefix("whsec_") for text in secrets])
        assert found_in(stage.directory, secrets) == set()
        # The control: the same search finds what is not secret.
        assert found_in(stage.directory, {"public-canary"}) == {"public-canary"}

    secrets: set[str] = set()
    run(tmp_path, scenario, sending=False)
    assert len(secrets) > len(CANARIES)
    assert found_in(tmp_path, secrets | {"public-canary"}) == {"public-canary"}
