"""Rotation of signing secrets: both sign until the grace is over, as the public verifier sees it."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from pipeline.stage import PATIENCE_S, Stage, run
from receivers import LOOPBACK, Received, Receiver
from tocsin.core.delivery import DeliveryState
from tocsin.core.destination import Destination, Transport
from tocsin.core.event import Dialect
from tocsin.core.identifiers import DEFAULT_ORGANISATION
from tocsin.core.signature import equal, sign_promptjang
from tocsin.pipeline.destinations import SECRETS_MAX, DestinationBounds
from tocsin.transports.addresses import AddressPolicy
from tocsin.transports.outbound import Client
from tocsin.transports.webhook import WebhookTransport

GRACE_MS = DestinationBounds().rotation_grace_ms


def verifies(received: Received, secret: str) -> bool:
    """Return whether the public verifier takes a request for one that was signed with this secret."""
    try:
        Webhook(secret).verify(received.body.decode(), {name.lower(): value for name, value in received.headers})
    except WebhookVerificationError:
        return False
    return True


class Signing:
    """A stage with the real webhook transport, and a destination at a real receiver."""

    def __init__(self, stage: Stage, receiver: Receiver) -> None:
        self.stage = stage
        self.receiver = receiver
        self.destination: Destination

    async def make(self, **fields: Any) -> str:
        """Store the destination; return its signing secret."""
        # The public verifier compares a request's time with its own clock.
        self.stage.clock.set_ms(int(dt.datetime.now(dt.UTC).timestamp() * 1000))
        self.destination = await self.stage.destination(address={"url": self.receiver.url()}, **fields)
        (secret,) = self.stage.destinations.secrets_of(self.destination)
        return secret

    async def rotate(self) -> str:
        """Rotate the secret; return the new one."""
        self.destination, secret = await self.stage.destinations.rotate_secret(
            DEFAULT_ORGANISATION, self.destination.id
        )
        return secret

    async def sent(self) -> Received:
        """Send an event; return it as it arrived."""
        await self.stage.until_all(await self.stage.accept(), DeliveryState.DELIVERED)
        return self.receiver.requests[-1]

    def later(self, by_ms: int) -> None:
        """Let a secret's time pass; the wall clock stands where the verifier's stands."""
        self.stage.clock.set_ms(self.stage.clock.now_ms() + by_ms)


def play(directory: Path, scenario: Any) -> None:
    async def main() -> None:
        client = Client(AddressPolicy(LOOPBACK))
        async with Receiver() as receiver, asyncio.timeout(PATIENCE_S):
            await client.open()
            stage = Stage(
                directory, transports=lambda stage: {Transport.WEBHOOK: WebhookTransport(client, clock=stage.clock)}
            )
            await stage.open()
            try:
                await scenario(Signing(stage, receiver))
            finally:
                await stage.close()
                await client.close()

    asyncio.run(main())


def test_during_the_grace_the_old_and_the_new_secret_both_verify(tmp_path: Path) -> None:
    async def scenario(signing: Signing) -> None:
        old = await signing.make()
        assert verifies(await signing.sent(), old)
        new = await signing.rotate()
        received = await signing.sent()
        assert verifies(received, old)
        assert verifies(received, new)
        # The control: somebody else's secret does not verify.
        assert not verifies(received, "whsec_" + "A" * 43 + "=")

    play(tmp_path, scenario)


def test_an_old_secret_signs_until_its_last_millisecond_and_not_longer(tmp_path: Path) -> None:
    async def scenario(signing: Signing) -> None:
        old = await signing.make()
        signing.later(-GRACE_MS)
        new = await signing.rotate()
        signing.later(GRACE_MS - 1)
        received = await signing.sent()
        assert verifies(received, old)
        assert verifies(received, new)
        assert signing.stage.destinations.secrets_of(signing.destination) == [new, old]
        signing.later(1)
        received = await signing.sent()
        assert not verifies(received, old)
        assert verifies(received, new)
        assert signing.stage.destinations.secrets_of(signing.destination) == [new]

    play(tmp_path, scenario)


def test_promptjang_s_header_has_room_for_one_signature_and_the_newest_makes_it(tmp_path: Path) -> None:
    async def scenario(signing: Signing) -> None:
        old = await signing.make(origin=Dialect.PROMPTJANG)
        new = await signing.rotate()
        received = await signing.sent()
        timestamp, signature = received.header("X-PJ-Timestamp"), received.header("X-PJ-Signature")
        assert timestamp is not None
        assert signature is not None
        assert equal(signature, sign_promptjang(new, timestamp, received.body))
        assert not equal(signature, sign_promptjang(old, timestamp, received.body))

    play(tmp_path, scenario)


def test_a_second_rotation_prolongs_no_older_secret(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination()
        stage.clock.advance_ms(GRACE_MS)
        rotate, id_ = stage.destinations.rotate_secret, made.id
        await rotate(DEFAULT_ORGANISATION, id_)
        stage.clock.advance_ms(GRACE_MS - 1)
        changed, _ = await rotate(DEFAULT_ORGANISATION, id_)
        assert len(stage.destinations.secrets_of(changed)) == 3
        stage.clock.advance_ms(1)
        assert len(stage.destinations.secrets_of(changed)) == 2
        changed, _ = await rotate(DEFAULT_ORGANISATION, id_)
        assert len(changed.secrets) == 3, "the one that has run out is not kept"

    run(tmp_path, scenario, sending=False)


def test_however_often_it_is_rotated_the_number_of_signatures_is_bounded(tmp_path: Path) -> None:
    async def scenario(signing: Signing) -> None:
        secrets = [await signing.make(), *[await signing.rotate() for _ in range(SECRETS_MAX + 2)]]
        received = await signing.sent()
        signatures = received.header("webhook-signature")
        assert signatures is not None
        assert len(signatures.split()) == SECRETS_MAX
        newest_first = list(reversed(secrets))
        assert [verifies(received, each) for each in newest_first] == [True] * SECRETS_MAX + [False] * 3

    play(tmp_path, scenario)


@pytest.mark.parametrize("rotations", [0, 1, 3])
def test_of_the_secrets_only_the_newest_has_no_end(tmp_path: Path, rotations: int) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination()
        for _ in range(rotations):
            made, _ = await stage.destinations.rotate_secret(DEFAULT_ORGANISATION, made.id)
        ends = [each.expires_ms for each in made.secrets]
        assert ends == [None] + [stage.clock.now_ms() + GRACE_MS] * rotations

    run(tmp_path, scenario, sending=False)
