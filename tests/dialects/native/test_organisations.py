"""Organisations, made and listed with the operator's key, which no recorded exchange has."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gateway import Answer, Gateway

PATH = "/api/v1/organisations"


def ask(gateway: Gateway, method: str, path: str, body: Any = None, *, key: str | None = None) -> Answer:
    operator_key = gateway.process.keys["operator_key"]
    return gateway.process.request(method, path, body, key=operator_key if key is None else key)


def test_an_organisation_is_made_with_a_first_key(gateway: Gateway) -> None:
    answer = ask(gateway, "POST", PATH, {"name": " Acme ", "plan": "starter"})

    assert answer.status == 201
    made = answer.json
    assert set(made) == {"id", "name", "plan", "jwks_url", "created_at", "api_key"}
    assert re.fullmatch(r"org_[0-9a-f]{32}", made["id"])
    assert (made["name"], made["plan"], made["jwks_url"]) == ("Acme", "starter", None)
    assert re.fullmatch(r"tcs_live_[0-9a-f]{64}", made["api_key"])

    mine = ask(gateway, "GET", "/api/v1/orgs", key=made["api_key"])
    assert (mine.status, mine.json["id"], mine.json["plan"]) == (200, made["id"], "starter")
    # The first key may do all that a key can be allowed, and nothing beyond.
    assert ask(gateway, "GET", PATH, key=made["api_key"]).status == 403


def test_an_organisation_without_a_plan_is_unlimited(gateway: Gateway) -> None:
    assert ask(gateway, "POST", PATH, {"name": "{"}).json["plan"] == "unlimited"


def test_organisations_are_listed_by_pages_without_their_keys(gateway: Gateway) -> None:
    made = [ask(gateway, "POST", PATH, {"name": f"listed {number}"}).json["id"] for number in range(3)]

    found: list[str] = []
    cursor = ""
    while True:
        page = ask(gateway, "GET", f"{PATH}?limit=2{cursor}").json
        assert len(page["organisations"]) <= 2
        assert all(set(each) == {"id", "name", "plan", "jwks_url", "created_at"} for each in page["organisations"])
        found += [each["id"] for each in page["organisations"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert found == sorted(found)
    assert [each for each in found if each in made] == made
    assert page["total"] == len(found) == len(set(found))


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, ["name"]),
        ({"name": ""}, ["name"]),
        ({"name": "a" * 129}, ["name"]),
        ({"name": "a", "plan": "platinum"}, ["plan"]),
        ({"name": 5, "plan": None, "colour": "red"}, ["colour", "name", "plan"]),
    ],
)
def test_a_faulty_organisation_is_not_made(gateway: Gateway, body: dict[str, Any], names: list[str]) -> None:
    answer = ask(gateway, "POST", PATH, body)

    assert answer.status == 400
    assert [fault["name"] for fault in answer.json["fields"]] == names


def test_a_list_has_no_other_parameters(gateway: Gateway) -> None:
    answer = ask(gateway, "GET", f"{PATH}?plan=free")

    assert answer.status == 400
    assert [fault["name"] for fault in answer.json["fields"]] == ["plan"]
