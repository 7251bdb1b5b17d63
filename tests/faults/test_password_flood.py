"""Wrong passwords by the hundred for one channel are rationed, and who knows the right one is not locked out."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway import Answer, Gateway, gateway_with
from tenants import PASSWORD, Tenant, incident, tenant_of
from wire import Memory

pytestmark = pytest.mark.acceptance

CHANNEL_FAILURES_MAX = 30
CLIENT_FAILURES_MAX = 60
FLOODERS = 8
WRONG_EACH = 50
RIGHT_LEAST = 100
HASH_MIB = 19
MARGIN_MIB = 20
SETTINGS = {"TOCSIN_PASSWORD_FAILURE_WINDOW_S": "3600"}
"""So long that no budget comes back while a test runs."""


def create(tenant: Tenant, channel: str, password: str) -> Answer:
    """Send an event to a channel."""
    return tenant.ask("POST", "/event/create", incident(channel, password))


@pytest.fixture(name="guarded")
def _guarded() -> Iterator[Gateway]:
    with gateway_with(SETTINGS) as running:
        yield running


def test_right_passwords_are_taken_all_along_a_flood_of_wrong_ones(guarded: Gateway) -> None:
    tenant = tenant_of(guarded)
    channel, other = tenant.channel(), tenant.channel()
    assert create(tenant, channel, PASSWORD).status == 200
    assert create(tenant, other, PASSWORD).status == 200
    memory = Memory(guarded.process.pid) if sys.platform == "linux" else None
    flooded = threading.Event()
    wrong: list[Answer] = []

    def flood(flooder: int) -> None:
        wrong.extend(create(tenant, channel, f"wrong-{flooder}-{number}") for number in range(WRONG_EACH))

    def right() -> Counter[int]:
        statuses: Counter[int] = Counter()
        while not flooded.is_set() or statuses.total() < RIGHT_LEAST:
            statuses[create(tenant, channel, PASSWORD).status] += 1
            statuses[create(tenant, other, PASSWORD).status] += 1
        return statuses

    with ThreadPoolExecutor(FLOODERS + 2) as pool:
        honest = [pool.submit(right) for _ in range(2)]
        for done in [pool.submit(flood, number) for number in range(FLOODERS)]:
            done.result()
        flooded.set()
        for each in honest:
            statuses = each.result()
            assert set(statuses) == {200}
            assert statuses.total() >= RIGHT_LEAST

    counts = Counter(answer.status for answer in wrong)
    assert counts.total() == FLOODERS * WRONG_EACH
    assert set(counts) <= {403, 429, 503}
    assert counts[403] == CHANNEL_FAILURES_MAX
    for answer in wrong:
        if answer.status == 429:
            assert answer.json["error_code"] == "too_many_attempts"
            assert 0 < int(answer.headers["retry-after"]) <= 3600
    if memory is not None:
        assert memory.growth_mib() <= HASH_MIB + MARGIN_MIB, "more than one password was hashed at a time"


def test_a_client_has_a_budget_over_all_channels(guarded: Gateway) -> None:
    tenant = tenant_of(guarded)
    channels = [tenant.channel() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:

        def try_out(channel: str) -> list[int]:
            return [create(tenant, channel, f"wrong-{number:04}").status for number in range(CHANNEL_FAILURES_MAX)]

        statuses = Counter(status for found in pool.map(try_out, channels) for status in found)
    assert statuses[403] == CLIENT_FAILURES_MAX
    assert set(statuses) == {403, 429}


def test_every_route_with_a_password_uses_the_same_budget() -> None:
    with gateway_with({**SETTINGS, "TOCSIN_PASSWORD_CHANNEL_FAILURES_MAX": "1"}) as running:
        tenant = tenant_of(running)
        channel = tenant.channel()
        device = tenant.post("/device/register", {"platform": "ios"})["data"]["device_key"]
        wrong = {"channel_id": channel, "password": "wrong-password"}
        assert create(tenant, channel, "wrong-password").status == 403
        for path, body in (
            ("/event/create", incident(channel, "wrong-password")),
            ("/message", {**wrong, "title": "a"}),
            ("/channel/subscribe", {**wrong, "device_key": device}),
            ("/channel/rename", {**wrong, "channel_name": "mine"}),
        ):
            assert tenant.ask("POST", path, body).status == 429, path


def test_who_knows_the_password_but_is_not_remembered_waits_and_is_let_in() -> None:
    with gateway_with(
        {"TOCSIN_PASSWORD_FAILURE_WINDOW_S": "2", "TOCSIN_PASSWORD_CHANNEL_FAILURES_MAX": "2"}
    ) as running:
        tenant = tenant_of(running)
        channel = tenant.channel()
        assert [create(tenant, channel, f"wrong-{number:04}").status for number in range(2)] == [403, 403]
        refused = create(tenant, channel, PASSWORD)
        assert refused.status == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 2
        deadline_s = time.monotonic() + 10
        while create(tenant, channel, PASSWORD).status != 200:
            assert time.monotonic() < deadline_s, "the budget did not come back"
