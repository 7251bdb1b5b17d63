"""``tocsin init``: keys once, for machines and for people, and what it says when it cannot."""

from __future__ import annotations

import base64
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import Process
from program import Done, run_program
from tocsin.bootstrap.configuration import load_settings, secret_key
from tocsin.settings import SettingsFault

pytestmark = pytest.mark.acceptance

KEY = re.compile(r"tcs_live_[0-9a-f]{64}")
START = ("serve", "--port", "0")
MORE_KEYS = ("init", "--new-key")


@pytest.fixture(name="first", scope="module")
def _first(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """What a first ``tocsin init --json`` ended with."""
    return run_program("init", "--data", str(tmp_path_factory.mktemp("first") / "deep" / "data"), "--json")


@pytest.fixture(name="told")
def _told(first: Done) -> dict[str, Any]:
    told: dict[str, Any] = first.json
    return told


@pytest.fixture(name="data")
def _data(told: dict[str, Any], tmp_path: Path) -> Path:
    """Initialised data, a copy for each test."""
    shutil.copytree(told["data"], tmp_path / "data")
    return tmp_path / "data"


def on(data: Path, command: tuple[str, ...], **settings: str) -> Done:
    """Run a command on these data."""
    return run_program(*command, "--data", str(data), settings=settings)


def refused(done: Done, status: int, *words: str) -> None:
    """Expect one line on stderr with these words, and nothing on stdout."""
    assert (done.status, done.out) == (status, ""), done
    last = done.err.splitlines()[-1]
    assert last.startswith("tocsin: ")
    for word in words:
        assert word in last
    assert "Traceback" not in done.err


# -- keys --------------------------------------------------------------------------------------------------


def test_the_first_time_prints_one_json_document_and_nothing_else(first: Done, told: dict[str, Any]) -> None:
    assert (first.status, first.err) == (0, "")
    assert set(told) == {"organisation_id", "api_key", "operator_key", "data"}
    assert KEY.fullmatch(told["api_key"])
    assert KEY.fullmatch(told["operator_key"])
    assert re.fullmatch(r"org_[0-9a-f]{32}", told["organisation_id"])
    assert told["data"].endswith("/deep/data")


def test_a_person_gets_the_same_in_lines_and_is_told_to_keep_it(tmp_path: Path) -> None:
    done = on(tmp_path / "data", ("init",))
    assert done.status == 0
    assert [line.split()[0] for line in done.out.splitlines()] == [
        "organisation_id",
        "api_key",
        "operator_key",
        "data",
    ]
    assert "only now" in done.err
    assert f"tocsin serve --data {tmp_path / 'data'}" in done.err


def test_the_second_time_is_refused_and_shows_no_key(data: Path) -> None:
    done = on(data, ("init", "--json"))
    refused(done, 2, "initialised already", "--new-key")
    assert not KEY.search(done.err)


def test_further_keys_can_be_made_and_all_of_them_open(data: Path, told: dict[str, Any]) -> None:
    more = on(data, ("init", "--json", "--new-key")).json
    assert len({told["api_key"], told["operator_key"], more["api_key"], more["operator_key"]}) == 4
    assert told["organisation_id"] == more["organisation_id"]
    process = Process(data)
    process.start()
    try:
        for keys in (told, more):
            assert process.request("GET", "/api/v1/orgs", key=keys["api_key"]).status == 200
            assert process.request("GET", "/api/v1/organisations", key=keys["api_key"]).status == 403
            assert process.request("GET", "/api/v1/organisations", key=keys["operator_key"]).status == 200
    finally:
        process.stop()
    assert process.keys == {}, "a later run shows no keys"


# -- the key that seals ------------------------------------------------------------------------------------


def test_the_data_are_readable_by_nobody_else(told: dict[str, Any]) -> None:
    data = Path(told["data"])
    modes = {path.name: path.stat().st_mode & 0o777 for path in [data, *data.iterdir()]}
    assert modes.pop("data") == 0o700
    assert set(modes) >= {"secret.key", "tocsin.db", "tocsin.lock"}
    assert set(modes.values()) == {0o600}
    assert re.fullmatch(r"[0-9a-f]{64}\n", (data / "secret.key").read_text("ascii"))


@pytest.mark.parametrize(
    "write", [bytes.hex, lambda key: base64.b64encode(key).decode(), lambda key: f" {key.hex()}\n"]
)
def test_a_key_may_be_given_and_is_then_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[bytes], str]
) -> None:
    key = bytes(range(32))
    monkeypatch.setenv("TOCSIN_SECRET_KEY", write(key))
    assert secret_key(load_settings(data=tmp_path), fresh=True) == key
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_made_once_and_read_again(tmp_path: Path) -> None:
    settings = load_settings(data=tmp_path)
    made = secret_key(settings, fresh=True)
    assert len(made) == 32
    assert secret_key(settings, fresh=False) == made
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


@pytest.mark.parametrize(
    "content", [b"", b"short", b"zz" * 32, b"ab" * 31, b"ab" * 33, b"\xff\xfe", b"ab" * 32 + b"\n" + b"ab" * 32]
)
def test_a_damaged_key_file_is_told_with_its_path_and_without_its_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret.key"
    path.write_bytes(content)
    with pytest.raises(SettingsFault, match="32 bytes") as fault:
        secret_key(load_settings(data=tmp_path), fresh=True)
    assert str(path) in str(fault.value)
    assert not content or content not in str(fault.value).encode()


def test_a_key_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "secret.key").mkdir()
    with pytest.raises(SettingsFault, match="cannot be used"):
        secret_key(load_settings(data=tmp_path), fresh=True)


def test_a_lost_key_is_not_made_anew_over_sealed_data(data: Path) -> None:
    (data / "secret.key").unlink()
    refused(on(data, START), 2, str(data / "secret.key"), "TOCSIN_SECRET_KEY")
    assert not (data / "secret.key").exists()


def test_another_key_than_the_one_used_is_told_at_the_start(data: Path, told: dict[str, Any]) -> None:
    process = Process(data)
    process.start()
    wanted = {"name": "all", "transport": "webhook", "address": {"url": "http://127.0.0.1:9/"}}
    made = process.request("POST", "/api/v1/destinations", wanted, key=told["api_key"])
    assert made.status == 201
    assert process.stop() == 0
    refused(on(data, START, TOCSIN_SECRET_KEY="ab" * 32), 2, "not the key", "secret.key")


def test_data_without_the_mark_of_a_key_get_that_of_the_next_start(data: Path) -> None:
    store = sqlite3.connect(data / "tocsin.db")
    taken = store.execute("delete from catalog where kind = 'key_mark'").rowcount
    store.commit()
    store.close()
    assert taken == 1
    assert on(data, MORE_KEYS, TOCSIN_SECRET_KEY="ab" * 32).status == 0
    refused(on(data, MORE_KEYS), 2, "first started with", "secret.key")


# -- data that cannot be had -------------------------------------------------------------------------------


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(on(tmp_path / "file" / "data", START), 3, str(tmp_path / "file"), "--data")


def test_data_that_a_gateway_uses_are_told_with_its_pid(data: Path) -> None:
    process = Process(data)
    process.start()
    try:
        refused(on(data, START), 3, f"pid {process.pid}", "in use")
        assert process.request("GET", "/ready").status == 200
    finally:
        assert process.stop() == 0


def test_a_file_that_is_no_database_is_told_and_left_alone(data: Path) -> None:
    content = b"this is no database" * 1000
    (data / "tocsin.db").write_bytes(content)
    refused(on(data, START), 3, "tocsin.db", "backup")
    assert (data / "tocsin.db").read_bytes() == content


def test_data_of_a_newer_program_are_told(data: Path) -> None:
    with sqlite3.connect(data / "tocsin.db") as database:
        database.execute("insert into schema_migration values (999, 'later', 'x')")
    database.close()
    refused(on(data, MORE_KEYS), 3, "tocsin.db", "999")
