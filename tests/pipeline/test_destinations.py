"""Making, changing and testing destinations; rotation stands in test_rotation."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.remote import NOWHERE
from pipeline.stage import Stage, run
from tocsin.core.delivery import DeliveryState
from tocsin.core.destination import Destination, Filter, Transport
from tocsin.core.errors import Conflict, InvalidRequest, NotFound, Unprocessable
from tocsin.core.event import Dialect, Environment
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DestinationId, OrganisationId
from tocsin.core.retry import NATIVE, RetryPolicy
from tocsin.pipeline.destinations import DestinationBounds, DestinationSpec

FOREIGN = OrganisationId(b"f" * 16)
HEADERS = {"Authorization": "Bearer one", "X-Team": "two"}


def secrets_of(stage: Stage, destination: Destination) -> dict[str, Any]:
    """Return the part of an address that is sealed."""
    return stage.vault.target(destination).secret_address


# -- creating ----------------------------------------------------------------------------------------------


def test_a_new_destination_shows_its_secrets_masked_and_has_a_signing_secret(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        spec = DestinationSpec(
            name="a", transport=Transport.WEBHOOK, address={"url": NOWHERE, "method": "PUT", "headers": HEADERS}
        )
        made, secret = await stage.destinations.create(DEFAULT_ORGANISATION, spec)
        shown = {"Authorization": "***", "X-Team": "***"}
        assert made.address == {"url": NOWHERE, "method": "PUT", "headers": shown}
        assert secrets_of(stage, made) == {"headers": HEADERS}
        assert stage.destinations.secrets_of(made) == [secret]
        assert secret.startswith("whsec_")
        assert stage.destinations.get(DEFAULT_ORGANISATION, made.id) == made
        assert (made.enabled, made.paused, made.created_ms) == (True, False, stage.clock.now_ms())

    run(tmp_path, scenario, sending=False)


def test_a_given_id_and_secret_are_kept_and_an_id_is_taken_once(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        create, new_id = stage.destinations.create, stage.destinations.new_id()
        spec = DestinationSpec(name="a", transport=Transport.WEBHOOK, address={"url": NOWHERE})
        made, secret = await create(DEFAULT_ORGANISATION, spec, id=new_id, secret="whsec_chosen")
        assert (made.id, secret) == (new_id, "whsec_chosen")
        for organisation_id in (DEFAULT_ORGANISATION, FOREIGN):
            with pytest.raises(Conflict):
                await create(organisation_id, spec, id=new_id)

    run(tmp_path, scenario, sending=False)


def test_members_that_are_none_are_left_out(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        address = {"url": NOWHERE, "method": None, "headers": {"X-One": "1", "X-None": None}}
        made = await stage.destination(address=address)
        assert made.address == {"url": NOWHERE, "headers": {"X-One": "***"}}
        assert secrets_of(stage, made) == {"headers": {"X-One": "1"}}
        plain = await stage.destination("b", address={"url": NOWHERE, "headers": None})
        assert plain.address == {"url": NOWHERE}
        assert plain.sealed_address is None

    run(tmp_path, scenario, sending=False)


def test_a_mask_is_no_value_where_nothing_is_stored(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        for transport, address, field in (
            (Transport.WEBHOOK, {"url": NOWHERE, "headers": {"X": "***"}}, "address.headers.X"),
            (Transport.MAILBOX, {"device_key": "***"}, "address.device_key"),
        ):
            with pytest.raises(InvalidRequest) as caught:
                await stage.destination(transport=transport, address=address)
            assert [name for name, _ in caught.value.fields] == [field]

    run(tmp_path, scenario, sending=False)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"timeout_s": 0.09}, "timeout_s"),
        ({"timeout_s": 60.01}, "timeout_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": 257}, "concurrency"),
        ({"rate_per_s": 0.0}, "rate_per_s"),
        ({"rate_per_s": -1.0}, "rate_per_s"),
        ({"rate_per_s": float("nan")}, "rate_per_s"),
        ({"retry": RetryPolicy((1.0,) * 51)}, "retry"),
        ({"retry": RetryPolicy((-0.1,))}, "retry"),
        ({"retry": RetryPolicy((7 * 86_400.0 + 1,))}, "retry"),
        ({"retry": RetryPolicy((float("nan"),))}, "retry"),
        ({"retry": RetryPolicy((1.0,), jitter=1.1)}, "retry"),
        ({"retry": RetryPolicy((1.0,), jitter=-0.1)}, "retry"),
        ({"retry": RetryPolicy((1.0,), delay_max_s=-1.0)}, "retry"),
        ({"retry": RetryPolicy((1.0,), delay_max_s=float("inf"))}, "retry"),
    ],
)
def test_what_breaks_a_bound_is_refused_when_made_and_when_changed(
    tmp_path: Path, wrong: dict[str, Any], field: str
) -> None:
    async def scenario(stage: Stage) -> None:
        with pytest.raises(InvalidRequest) as caught:
            await stage.destination(**wrong)
        assert {name for name, _ in caught.value.fields} == {field}
        sound = await stage.destination()
        with pytest.raises(InvalidRequest):
            await stage.change(sound, **wrong)
        assert stage.destinations.get(DEFAULT_ORGANISATION, sound.id) == sound

    run(tmp_path, scenario, sending=False)


def test_what_lies_on_a_bound_is_taken(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        longest = RetryPolicy((7 * 86_400.0, 0.0) * 25, jitter=1.0, delay_max_s=7 * 86_400.0)
        await stage.destination("a", timeout_s=0.1, concurrency=1, rate_per_s=1e-9, retry=RetryPolicy(()))
        await stage.destination("b", timeout_s=60.0, concurrency=256, retry=longest)

    run(tmp_path, scenario, sending=False)


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://169.254.169.254/latest", "ftp://a.example/", "", "x"])
def test_an_address_that_may_not_be_reached_is_refused_when_made_and_when_changed(tmp_path: Path, url: str) -> None:
    async def scenario(stage: Stage) -> None:
        with pytest.raises(Unprocessable) as caught:
            await stage.destination(address={"url": url})
        assert caught.value.code == "url_not_allowed"
        assert caught.value.detail.startswith("URL is not allowed")
        sound = await stage.destination()
        with pytest.raises(Unprocessable):
            await stage.change(sound, address={"url": url})
        with pytest.raises(Unprocessable):
            await stage.destination(address={"headers": {"X": "a webhook without a URL"}})

    run(tmp_path, scenario, sending=False)


@pytest.mark.parametrize("headers", [{"Host": "a"}, {"X": "a\r\nY: b"}, {"webhook-id": "a"}, {"a b": "c"}])
def test_headers_that_may_not_be_sent_are_refused_by_name(tmp_path: Path, headers: dict[str, str]) -> None:
    async def scenario(stage: Stage) -> None:
        with pytest.raises(InvalidRequest) as caught:
            await stage.destination(address={"url": NOWHERE, "headers": headers})
        assert [name for name, _ in caught.value.fields] == [f"headers.{next(iter(headers))}"]

    run(tmp_path, scenario, sending=False)


@pytest.mark.parametrize("headers", ["X: 1", ["X"], {"X": 1}, {"X": ["1"]}])
def test_headers_of_another_shape_are_the_caller_s_mistake(tmp_path: Path, headers: Any) -> None:
    async def scenario(stage: Stage) -> None:
        with pytest.raises(InvalidRequest):
            await stage.destination(address={"url": NOWHERE, "headers": headers})

    run(tmp_path, scenario, sending=False)


# -- changing ----------------------------------------------------------------------------------------------


def test_a_changed_address_keeps_secrets_that_it_masks_or_leaves_out(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination(address={"url": NOWHERE, "headers": HEADERS})
        other_url = NOWHERE + "/other"
        changed = await stage.change(made, address={"url": other_url})
        assert changed.address["url"] == other_url
        assert secrets_of(stage, changed) == {"headers": HEADERS}
        given = {"Authorization": "***", "X-New": "three"}
        changed = await stage.change(made, address={"url": NOWHERE, "headers": given})
        assert secrets_of(stage, changed) == {"headers": {"Authorization": "Bearer one", "X-New": "three"}}
        assert changed.address["headers"] == {"Authorization": "***", "X-New": "***"}

    run(tmp_path, scenario, sending=False)


def test_an_address_read_and_written_back_changes_nothing(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        for name, transport, address in (
            ("a", Transport.WEBHOOK, {"url": NOWHERE, "headers": HEADERS}),
            ("b", Transport.TELEGRAM, {"bot_token": "1:token", "chat_id": 7}),
        ):
            made = await stage.destination(name, transport=transport, address=address)
            changed = await stage.change(made, address=made.address)
            assert changed.address == made.address
            assert secrets_of(stage, changed) == secrets_of(stage, made)

    run(tmp_path, scenario, sending=False)


def test_a_member_that_is_none_goes_from_what_is_shown_and_from_what_is_sealed(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination(address={"url": NOWHERE, "method": "PUT", "headers": HEADERS})
        changed = await stage.change(made, address={"url": NOWHERE, "method": None, "headers": {"X-Team": None}})
        assert changed.address == {"url": NOWHERE, "headers": {}}
        assert changed.sealed_address is None
        discord = await stage.destination(
            "d", transport=Transport.DISCORD, address={"webhook_url": "https://discord.com/api/webhooks/1/x"}
        )
        address = {"webhook_url": None, "bot_token": "t", "user_id": "7"}
        changed = await stage.change(discord, address=address)
        assert changed.address == {"bot_token": "***", "user_id": "7"}
        assert secrets_of(stage, changed) == {"bot_token": "t"}

    run(tmp_path, scenario, sending=False)


def test_a_mask_for_a_value_that_is_not_stored_is_refused(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination(address={"url": NOWHERE, "headers": HEADERS})
        with pytest.raises(InvalidRequest) as caught:
            await stage.change(made, address={"url": NOWHERE, "headers": {"X-Other": "***"}})
        assert [name for name, _ in caught.value.fields] == ["address.headers.X-Other"]

    run(tmp_path, scenario, sending=False)


@pytest.mark.parametrize(
    ("url", "stays"),
    [
        (NOWHERE + "/other?a=b", True),
        (NOWHERE.upper().replace("HTTP", "http"), True),
        (NOWHERE.replace("http:", "https:"), False),
        (NOWHERE.rpartition(":")[0] + ":10", False),
        ("http://127.0.0.2:9", False),
    ],
)
def test_hidden_headers_stay_with_the_scheme_the_host_and_the_port(tmp_path: Path, url: str, *, stays: bool) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination(address={"url": NOWHERE, "headers": HEADERS})
        for given, needed in (
            ({"url": url}, ["Authorization", "X-Team"]),
            ({"url": url, "headers": {"X-Team": "***", "X-New": "1"}}, ["X-Team"]),
            ({"url": url, "headers": made.address["headers"]}, ["Authorization", "X-Team"]),
        ):
            if stays:
                changed = await stage.change(made, address=given)
                assert changed.address["url"] == url
                made = await stage.change(changed, address={"url": NOWHERE, "headers": HEADERS})
                continue
            with pytest.raises(Unprocessable) as caught:
                await stage.change(made, address=given)
            assert caught.value.code == "hidden_value_required"
            assert [name for name, _ in caught.value.fields] == [f"address.headers.{name}" for name in needed]
            assert secrets_of(stage, stage.destinations.get(made.organisation_id, made.id)) == {"headers": HEADERS}
        for headers, sealed in (({}, {}), (None, {}), ({"X-New": "1"}, {"headers": {"X-New": "1"}})):
            changed = await stage.change(made, address={"url": url, "headers": headers})
            assert secrets_of(stage, changed) == sealed
            assert stage.destinations.secrets_of(changed) == stage.destinations.secrets_of(made)
            made = await stage.change(changed, address={"url": NOWHERE, "headers": HEADERS})

    run(tmp_path, scenario, sending=False)


def test_enabling_and_another_address_forget_the_failures_and_nothing_else_does(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination(address={"url": NOWHERE, "headers": HEADERS})

        async def failing() -> Destination:
            now = stage.destinations.get(DEFAULT_ORGANISATION, made.id)
            await stage.catalog.save(
                msgspec.structs.replace(now, failing_since_ms=7, enabled=False, disabled_reason="why")
            )
            return stage.destinations.get(DEFAULT_ORGANISATION, made.id)

        for changes in ({"name": "b"}, {"address": made.address}, {"enabled": False}, {"paused": True}):
            changed = await stage.change(await failing(), **changes)
            assert (changed.failing_since_ms, changed.disabled_reason) == (7, "why"), changes
        moved = await stage.change(await failing(), address={"url": NOWHERE + "/other"})
        assert (moved.failing_since_ms, moved.disabled_reason, moved.enabled) == (None, "why", False)
        moved = await stage.change(await failing(), address={"url": NOWHERE, "headers": {"X-Team": "new"}})
        assert moved.failing_since_ms is None
        enabled = await stage.change(await failing(), enabled=True)
        assert (enabled.failing_since_ms, enabled.disabled_reason, enabled.enabled) == (None, None, True)

    run(tmp_path, scenario, sending=False)


def test_of_two_changes_at_once_one_is_told_that_it_lost(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination()
        results = await asyncio.gather(
            stage.change(made, name="one"), stage.change(made, name="two"), return_exceptions=True
        )
        won = [each for each in results if isinstance(each, Destination)]
        lost = [each for each in results if isinstance(each, Conflict)]
        assert (len(won), len(lost)) == (1, 1)
        assert lost[0].code == "changed_meanwhile"
        assert stage.destinations.get(DEFAULT_ORGANISATION, made.id).name == won[0].name

    run(tmp_path, scenario, sending=False)


def test_another_organisation_s_destination_is_not_there(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made, use = await stage.destination(), stage.destinations
        for call in (
            use.change(FOREIGN, made.id, {"name": "b"}),
            use.delete(FOREIGN, made.id),
            use.rotate_secret(FOREIGN, made.id),
            use.test(FOREIGN, made.id),
            use.test(DEFAULT_ORGANISATION, DestinationId(bytes(16))),
        ):
            with pytest.raises(NotFound):
                await call
        assert use.get(DEFAULT_ORGANISATION, made.id) == made
        await use.delete(DEFAULT_ORGANISATION, made.id)
        with pytest.raises(NotFound):
            use.get(DEFAULT_ORGANISATION, made.id)

    run(tmp_path, scenario, sending=False)


# -- testing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", [Environment.LIVE, Environment.TEST])
def test_a_test_event_goes_to_its_destination_alone_whatever_the_filters_say(
    tmp_path: Path, environment: Environment
) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination("everything")
        tested = await stage.destination("tested", filter=Filter(types=("nothing",)))
        receipt = await stage.destinations.test(DEFAULT_ORGANISATION, tested.id, environment)
        await stage.until_all(receipt.deliveries, DeliveryState.DELIVERED)
        assert [each.target.destination.name for each in stage.remote.started] == ["tested"]
        (event,) = await stage.events()
        assert (event.type, event.dialect, event.environment) == ("tocsin.test", Dialect.TOCSIN, environment)
        assert msgspec.json.decode(event.data)["destination"] == f"dst_{tested.id.hex()}"

    run(tmp_path, scenario)


def test_bounds_are_the_operator_s(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination(timeout_s=120.0, retry=RetryPolicy((1.0,) * 3))
        with pytest.raises(InvalidRequest):
            await stage.destination(retry=NATIVE)

    run(tmp_path, scenario, sending=False, bounds=DestinationBounds(timeout_max_s=120.0, retries_max=3))
