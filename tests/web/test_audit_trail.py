"""What the audit trail tells, and what it does not."""

from __future__ import annotations

import json
from http.client import HTTPConnection

import pytest

from gateway import Gateway
from tenants import PASSWORD, Tenant, as_json
from trails import CANARY, SINCE, Stand, stand_of


@pytest.fixture(name="stand", scope="module")
def _stand(gateway: Gateway) -> Stand:
    return stand_of(gateway)


def test_what_is_refused_or_changes_nothing_leaves_no_record(gateway: Gateway) -> None:
    stand = stand_of(gateway)
    ask = stand.tenant.ask
    found = stand.destination()
    path = f"/api/v1/destinations/{found}"
    nobody = f"/api/v1/destinations/dst_{'0' * 32}"
    before = stand.records()
    refused = [
        ask("PATCH", path, {"name": ""}),
        ask("PATCH", path, {"name": "other"}, {"If-Match": '"1"'}),
        ask("PATCH", nobody, {"name": "other"}),
        ask("DELETE", nobody),
        ask("POST", f"{path}/recover", {}),
        ask("POST", "/api/v1/categories", {"name": "a b", "color": 1}),
        ask("POST", "/api/v1/keys", {"name": "k", "scopes": ["operator"]}),
        ask("POST", "/api/v1/replays", {"filter": {}}),
        ask("POST", f"/api/v1/deliveries/dlv_{'0' * 32}/retry"),
        ask("POST", f"/api/v1/jobs/job_{'0' * 32}/cancel"),
    ]
    assert {each.status // 100 for each in refused} == {4}
    idle = [
        ask("PATCH", path, {"name": "all"}),
        ask("POST", f"{path}/resume"),
        ask("POST", f"{path}/recover?dry_run=true", SINCE),
        ask("POST", "/api/v1/replays", {"filter": {"type": "x"}, "dry_run": True}),
        ask("GET", path),
    ]
    assert {each.status for each in idle} == {200}
    assert stand.records() == before


def test_a_record_says_who_did_what_to_what(gateway: Gateway) -> None:
    stand = stand_of(gateway)
    key = stand.tenant.post("/api/v1/keys", {"name": "deploy", "scopes": ["manage"]})
    deploy = Tenant(gateway.process, key["key"])
    found = stand.destination()
    changes = {"name": "other", "timeout_s": 5, "enabled": False, "address": {"url": gateway.receiver_url + "/moved"}}
    assert deploy.ask("PATCH", f"/api/v1/destinations/{found}", changes).status == 200
    (record, *_) = stand.records()
    shown = {name: record[name] for name in ("actor", "action", "subject", "summary")}
    assert shown == {
        "actor": {"kind": "key", "key_id": key["id"], "name": "deploy"},
        "action": "destination.updated",
        "subject": found,
        "summary": {
            "name": "other",
            "changed": {
                "name": {"from": "all", "to": "other"},
                "timeout_s": {"from": 15.0, "to": 5.0},
                "enabled": {"from": True, "to": False},
            },
            "also": ["address"],
        },
    }


def test_where_a_webhook_leads_is_told_without_the_rest_of_its_url(gateway: Gateway) -> None:
    stand = stand_of(gateway)
    found = stand.destination()
    elsewhere = gateway.receiver_url.replace("127.0.0.1", "127.0.0.2")
    stand.tenant._done(
        stand.tenant.ask("PATCH", f"/api/v1/destinations/{found}", {"address": {"url": f"{elsewhere}/x?k={CANARY}"}})
    )
    (record, *_) = stand.records()
    assert record["summary"]["changed"] == {"host": {"from": gateway.receiver_url, "to": elsewhere}}


def test_no_secret_comes_into_the_trail(gateway: Gateway) -> None:
    stand = stand_of(gateway)
    tenant = stand.tenant
    headers = {"Authorization": f"Bearer {CANARY}"}
    made = tenant.webhook(stand.url, headers=headers)
    rotated = tenant.post(f"/api/v1/destinations/{made['id']}/rotate-secret")
    key = tenant.post("/api/v1/keys", {"name": "k"})
    channel = tenant.channel(f"{CANARY}-password")
    tenant._done(tenant.ask("PATCH", f"/api/v1/channels/{channel}", {"password": f"{CANARY}-another"}))
    token = tenant.post("/auth/v1/service-jwt", {})["jwt"]
    tenant.put(
        "/api/v1/account",
        {"discord": {"enabled": True, "webhook_url": f"https://discord.com/api/webhooks/1/{CANARY}"}},
    )
    trail = tenant.ask("GET", "/api/v1/audit?limit=100").body.decode()
    assert trail.count('"id":"aud_') >= 8
    for secret in (CANARY, made["secret"], rotated["secret"], key["key"], token, "argon2"):
        assert secret not in trail


def test_the_trail_is_narrowed_and_paged(gateway: Gateway) -> None:
    stand = stand_of(gateway)
    found, endpoint = stand.destination(), stand.endpoint()["id"]
    stand.tenant.post(f"/api/v1/destinations/{found}/pause")
    (mine, *_) = stand.records()
    key_id = mine["actor"]["key_id"]
    assert [each["action"] for each in stand.records(f"&subject={found}")] == [
        "destination.paused",
        "destination.created",
    ]
    assert [each["subject"] for each in stand.records(f"&subject={endpoint}")] == [endpoint.replace("ep_", "dst_")]
    assert stand.records(f"&actor={key_id}&action=destination.paused") == [mine]
    assert {each["actor"]["kind"] for each in stand.records("&actor=operator")} == {"operator"}
    assert stand.records(f"&since={mine['time']}&subject={found}") == [mine]
    assert stand.records("&until=1000") == []
    page = stand.tenant.get("/api/v1/audit?limit=1")
    behind = stand.tenant.get(f"/api/v1/audit?limit=99&cursor={page['next_cursor']}")
    assert page["records"] + behind["records"] == stand.records()
    assert behind["next_cursor"] is None


@pytest.mark.parametrize("query", ["actor=nobody", "actor=key_1", "since=x", "verb=a", "action=", "limit=101"])
def test_a_question_that_makes_no_sense_is_refused(stand: Stand, query: str) -> None:
    answer = stand.tenant.ask("GET", f"/api/v1/audit?{query}")
    assert answer.status == 400
    assert answer.json["fields"][0]["name"] == query.partition("=")[0]


def test_a_new_organisation_is_told_to_the_operator_and_to_itself(gateway: Gateway) -> None:
    operator = gateway.process.keys["operator_key"]
    made = gateway.process.request("POST", "/api/v1/organisations", {"name": "new"}, key=operator).json
    theirs = Tenant(gateway.process, made["api_key"]).get("/api/v1/audit")["records"]
    assert [each["action"] for each in theirs] == ["key.created", "organisation.created"]
    ours = Tenant(gateway.process, operator).get(f"/api/v1/audit?subject={made['id']}")["records"]
    assert [(each["action"], each["actor"]["kind"]) for each in ours] == [("organisation.created", "operator")]
    assert {each["id"] for each in ours}.isdisjoint(each["id"] for each in theirs)


def test_nobody_acts_for_whoever_comes_after_on_the_same_connection(gateway: Gateway) -> None:
    """Without a bearer PushGo's routes act for the default organisation, not for the key of the request before."""
    stand = stand_of(gateway)
    before = stand.records()
    host, _, port = gateway.base_url.removeprefix("http://").rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=30)
    keys = {"Authorization": f"Bearer {stand.tenant.key}"}
    connection.request("POST", "/api/v1/channels", as_json({"name": "c", "password": PASSWORD}), keys)
    assert connection.getresponse().read()
    device = {"platform": "ios"}
    connection.request("POST", "/device/register", as_json(device), {"Content-Type": "application/json"})
    key = json.loads(connection.getresponse().read())["data"]["device_key"]
    body = {"device_key": key, "channel_name": "anybody's", "password": PASSWORD}
    connection.request("POST", "/channel/subscribe", as_json(body), {"Content-Type": "application/json"})
    channel = json.loads(connection.getresponse().read())["data"]["channel_id"]
    connection.close()
    assert len(stand.records()) == len(before) + 1
    (record,) = stand.operator.get(f"/api/v1/audit?subject={channel}")["records"]
    assert record["actor"] == {"kind": "other", "key_id": None, "name": None}
