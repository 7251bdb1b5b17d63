"""What all commands share: which gateway, which key, the form of the output, how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.commands import Shell
from gateway import Gateway
from program import DEADLINE_S

pytestmark = pytest.mark.acceptance

NOWHERE = "http://127.0.0.1:9"


# -- which gateway, which key ------------------------------------------------------------------------------


def test_whoami_tells_gateway_and_organisation_and_masks_the_key(shell: Shell) -> None:
    told = shell.ok("whoami")
    assert told["url"] == shell.tenant.process.base_url
    assert told["organisation_id"] == shell.tenant.get("/api/v1/orgs")["id"]
    assert told["key"] == f"tcs_live_...{shell.tenant.key[-4:]}"
    assert told["profile"] is None


def test_an_option_counts_behind_the_command_in_front_of_it_and_before_the_environment(shell: Shell) -> None:
    right, url = shell.tenant.key, shell.tenant.process.base_url
    wrong: dict[str, Any] = {"TOCSIN_KEY": "tcs_live_wrong", "TOCSIN_URL": NOWHERE}
    shell.ok("whoami", "--key", right, "--url", url, **wrong)
    shell.ok("--key", right, "--url", url, "whoami", **wrong)
    shell.ok("--key", "tcs_live_wrong", "--url", NOWHERE, "whoami", "--key", right, "--url", f"{url}/")
    shell.refused(5, "--url", NOWHERE, "whoami", says="is it running? Start one with: tocsin serve")


def test_a_profile_keeps_gateway_and_key(shell: Shell) -> None:
    add = ("profile", "add", "home", "--url", shell.tenant.process.base_url, "--key-file", "-")
    done = shell.run(*add, stdin=f"{shell.tenant.key}\n", outside=True)
    assert (done.status, done.out) == (0, "")
    assert "profile home is kept" in done.err
    assert shell.ok("whoami", outside=True)["profile"] == "home"
    kept = shell.home / "config" / "tocsin" / "config.toml"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700

    shell.run("profile", "add", "off", "--url", NOWHERE, "--no-key", outside=True)
    rows = shell.rows("profile", "list", outside=True)
    assert [(row["name"], row["key"], row["in_use"]) for row in rows] == [
        ("home", f"tcs_live_...{shell.tenant.key[-4:]}", True),
        ("off", None, False),
    ]
    assert shell.tenant.key not in json.dumps(rows)
    shell.refused(5, "--profile", "off", "whoami", says=NOWHERE)
    shell.refused(5, "whoami", says=NOWHERE, TOCSIN_PROFILE="off", outside=True)

    assert shell.run("profile", "use", "off", outside=True).status == 0
    shell.refused(5, "whoami", says=NOWHERE, outside=True)
    assert shell.run("profile", "remove", "off", outside=True).status == 0
    assert [row["in_use"] for row in shell.rows("profile", "list", outside=True)] == [False]
    shell.refused(7, "profile", "use", "off", says="there is no profile off")
    shell.refused(7, "profile", "remove", "off", says="there is no profile off")


def test_a_profile_asked_for_counts_before_the_environment(shell: Shell) -> None:
    shell.run("profile", "add", "off", "--url", NOWHERE, "--no-key")
    assert shell.ok("whoami")["profile"] is None, "the environment counts before the profile in use"
    shell.refused(5, "--profile", "off", "whoami", says=NOWHERE)
    assert shell.ok("whoami", TOCSIN_PROFILE="off")["profile"] is None


def test_a_profiles_key_goes_to_no_other_gateway(shell: Shell, gateway: Gateway) -> None:
    add = ("profile", "add", "home", "--url", shell.tenant.process.base_url, "--key-file", "-")
    shell.run(*add, stdin=shell.tenant.key)
    other = f"{gateway.receiver_url}/{shell.tenant.key[-8:]}"
    shell.run("--profile", "home", "--url", other, "whoami", outside=True)
    (arrival,) = gateway.receiver.wait_for(1, path=f"/{shell.tenant.key[-8:]}/api/v1/orgs")
    assert "authorization" not in arrival.headers


@pytest.mark.parametrize(
    ("arguments", "content", "says"),
    [
        (("--profile", "nope", "whoami"), None, "there is no profile nope; tocsin profile list"),
        (("whoami",), "current = 7", "is no file of profiles"),
        (("whoami",), "current = ", "is no file of profiles"),
        (("whoami",), '[profile.a]\nurl = "http://a"\ntoken = "x"', "token is not known"),
        (("whoami",), 'current = "gone"', "there is no profile gone"),
        (("profile", "add", "a b", "--no-key"), None, "a profile's name has letters"),
        (("profile", "add", "a", "--no-key", "--url", "ftp://a"), None, "--url must be http:// or https://"),
        (("profile", "add", "a"), None, "there is nobody to ask for the key; give it with --key-file"),
        (("--url", "http://u:p@host", "whoami"), None, "--url must be http:// or https://"),
        (("--key", "a key", "whoami"), None, "the key has characters that no key has"),
    ],
)
def test_wrong_settings_of_a_client_are_told(
    shell: Shell, arguments: tuple[str, ...], content: str | None, says: str
) -> None:
    if content is not None:
        (shell.home / "config" / "tocsin").mkdir(parents=True)
        shell.file("config/tocsin/config.toml", content)
    shell.refused(2, *arguments, says=says)


def test_a_gateway_starts_where_the_variables_of_its_clients_are_set(tmp_path: Path, shell: Shell) -> None:
    told = shell.run("init", "--json", "--data", str(tmp_path / "data"), TOCSIN_SEND_CATEGORY="bug", TOCSIN_QUIET="1")
    assert (told.status, told.err) == (0, "")
    assert "api_key" in told.json
    shell.refused(
        2, "init", "--data", str(tmp_path / "other"), says="TOCSIN_SEND_CATEGROY", TOCSIN_SEND_CATEGROY="bug"
    )


# -- errors ------------------------------------------------------------------------------------------------


def test_an_unknown_key_and_none_are_told_with_the_next_step(shell: Shell) -> None:
    shell.refused(
        6, "whoami", says="(401); this key is not known there: give one with --key", TOCSIN_KEY="tcs_live_x"
    )
    shell.refused(6, "whoami", says="(401); no key was given: give one with --key, TOCSIN_KEY or", TOCSIN_KEY=None)


def test_a_key_without_the_scope_is_told_which_one_it_lacks(shell: Shell) -> None:
    key = shell.tenant.post("/api/v1/keys", {"name": "r", "scopes": ["ingest"]})["key"]
    shell.refused(6, "whoami", says="(403); use a key with that scope", TOCSIN_KEY=key)


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [("/status/200", 1, "is not JSON; is --url the address of a Tocsin?"), ("/status/302", 1, "it redirects to")],
)
def test_what_is_no_gateway_is_told(shell: Shell, gateway: Gateway, path: str, status: int, says: str) -> None:
    shell.refused(status, "--url", gateway.receiver_url + path, "whoami", says=says)


def test_ctrl_c_ends_quietly_with_130(shell: Shell) -> None:
    # The password's file is a pipe that nobody writes to: the command waits there.
    os.mkfifo(shell.home / "pipe")
    process = subprocess.Popen(
        [sys.executable, "-m", "tocsin", "event", "create", "--channel", "x", "--title", "t", "-m", "m",
         "--password-file", "pipe"],
        env=shell.environment, cwd=shell.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with (shell.home / "pipe").open("wb"):  # opens once the command has opened the other end
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, err.strip()) == (130, b"", b"")


def test_a_reader_who_has_gone_ends_it_quietly(shell: Shell) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "tocsin", "trigger", "--list"],
            env=shell.environment,
            cwd=shell.home,
            stdout=gone,
            stderr=subprocess.PIPE,
            timeout=DEADLINE_S,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, b"")


# -- output ------------------------------------------------------------------------------------------------


def fixtures(shell: Shell, *arguments: str, **variables: Any) -> str:
    """Return what the list of fixtures looks like."""
    done = shell.run(*arguments, "trigger", "--list", **variables)
    assert (done.status, done.err) == (0, "")
    return done.out


def test_rows_have_three_forms(shell: Shell) -> None:
    rows: list[dict[str, Any]] = [json.loads(line) for line in fixtures(shell).splitlines()]
    assert {"fixture", "what"} == set(rows[0])
    assert json.loads(fixtures(shell, "--output", "json")) == rows
    assert fixtures(shell, TOCSIN_OUTPUT="ndjson") == fixtures(shell)
    head, first, *_ = fixtures(shell, "--output", "table").splitlines()
    assert head.split() == ["fixture", "what"]
    assert first.split()[0] == rows[0]["fixture"]
    assert "\x1b" not in fixtures(shell, "--output", "table", TERM="xterm-256color")
    done = shell.run("--output", "xml", "trigger", "--list")
    assert done.status == 2
    assert "'xml' is not one of" in done.err


def test_on_a_terminal_it_is_a_table_with_colour_unless_told_otherwise(shell: Shell) -> None:
    assert "\x1b[1;36m" in on_terminal(shell)
    assert "[1;36m" not in on_terminal(shell, NO_COLOR="1")
    assert on_terminal(shell, TOCSIN_OUTPUT="ndjson").startswith("{")


def on_terminal(shell: Shell, **variables: str) -> str:
    """Return what the list of fixtures looks like on a terminal."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "tocsin", "trigger", "--list"],
        env=shell.environment | {"TERM": "xterm-256color"} | variables, cwd=shell.home,
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        os.close(theirs)
        told = b""
        try:
            while chunk := os.read(ours, 65_536):
                told += chunk
        except OSError:
            pass  # Linux's way to say that the other end is closed
        assert process.wait(DEADLINE_S) == 0
    os.close(ours)
    return told.decode()


def test_quiet_leaves_out_chatter_and_keeps_errors(shell: Shell) -> None:
    done = shell.run("--quiet", "profile", "add", "a", "--no-key")
    assert (done.status, done.out, done.err) == (0, "", "")
    shell.refused(5, "--quiet", "--url", NOWHERE, "whoami", says=NOWHERE)


def test_what_a_gateway_tells_cannot_move_the_cursor(shell: Shell) -> None:
    key = shell.ok("emit", "odd", '{"text": "a\\u001b[2Jb\\u009bc"}')["key"]
    for form in ("table", "json", "ndjson"):
        told = shell.run("--output", form, "query", "odd", "--tx-key", "k").out
        assert key in told
        assert "\x1b" not in told
        assert "\x9b" not in told


# -- version and completion --------------------------------------------------------------------------------


def test_the_version_is_told_to_people_and_to_machines(shell: Shell) -> None:
    version = shell.run("version").out.strip()
    assert shell.ok("version", "--json")["version"] == version
    assert shell.run("--version").out.endswith(f" {version}\n")


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_a_completion_script_names_the_variable_it_completes_by(shell: Shell, kind: str) -> None:
    done = shell.run("completion", kind)
    assert done.status == 0
    assert f"_TOCSIN_COMPLETE={kind}_complete" in done.out


def test_completion_knows_commands_and_options(shell: Shell) -> None:
    told = shell.run(_TOCSIN_COMPLETE="bash_complete", COMP_WORDS="tocsin ev", COMP_CWORD="1").out
    assert "plain,event" in told
    told = shell.run(_TOCSIN_COMPLETE="bash_complete", COMP_WORDS="tocsin event close --ch", COMP_CWORD="3").out
    assert "plain,--channel" in told
