"""What a newcomer reads: the help texts, the version, and what is said to a wrong command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from program import DEADLINE_S, environment, run_program
from tocsin import __version__

pytestmark = pytest.mark.acceptance

HEAVY = ("apsw", "argon2", "cryptography", "jwt", "prometheus_client", "pycurl", "pydantic", "starlette", "uvicorn")


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_the_help_names_every_command_and_where_settings_come_from(flag: str) -> None:
    done = run_program(flag)
    assert (done.status, done.err) == (0, "")
    for word in ("init", "serve", "--version", "TOCSIN_PORT", "tocsin.toml"):
        assert word in done.out


@pytest.mark.parametrize(
    ("command", "flags"),
    [("init", ["--data", "--json", "--new-key"]), ("serve", ["--host", "--port", "--data", "--try"])],
)
def test_every_command_has_its_flags_and_examples_that_name_them(command: str, flags: list[str]) -> None:
    done = run_program(command, "--help")
    assert (done.status, done.err) == (0, "")
    described, _, examples = done.out.partition("Examples:")
    for flag in flags:
        assert flag in described
        assert flag in examples
    assert all(line.startswith("    tocsin ") for line in examples.strip("\n").split("\n"))
    assert max(map(len, done.out.splitlines())) <= 100


def test_the_version_is_the_packages_own() -> None:
    done = run_program("--version")
    assert (done.status, done.out) == (0, f"tocsin, version {__version__}\n")


def test_the_installed_command_and_the_module_are_the_same() -> None:
    command = Path(sys.executable).with_name("tocsin")
    done = subprocess.run(
        [str(command), "--help"], capture_output=True, text=True, check=True, timeout=DEADLINE_S, env=environment()
    )
    assert done.stdout == run_program("--help").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Usage: tocsin"),
        (["serv"], "serve"),
        (["serve", "--prot", "1"], "--port"),
        (["serve", "--port", "http"], "--port"),
        (["serve", "extra"], "extra"),
        (["init", "--data"], "--data"),
    ],
)
def test_a_wrong_command_ends_with_2_and_says_what_was_meant(arguments: list[str], said: str) -> None:
    done = run_program(*arguments)
    assert done.status == 2
    assert done.out == ""
    assert said in done.err


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["serve", "--help"], ["init", "--help"]])
def test_help_comes_without_loading_the_program(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from tocsin.cli.main import cli\n"
        "cli(sys.argv[1:], prog_name='tocsin', standalone_mode=False)\n"
        "print('loaded:', *sorted(name for name in sys.modules if '.' not in name))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
        env=environment(),
    )
    loaded = done.stdout.rpartition("loaded: ")[2].split()
    assert "click" in loaded
    assert not set(HEAVY) & set(loaded)
