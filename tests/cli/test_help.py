"""What a newcomer reads: the help texts, the version, and what is said to a wrong command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from program import DEADLINE_S, environment, run_program
from tocsin import __version__
from tocsin.bootstrap import LIMITS
from tocsin.cli.catalogue import OF_SETTINGS, SECTIONS, entries
from tocsin.cli.client.session import GLOBAL_OPTIONS
from tocsin.cli.group import client_variables, load, named
from tocsin.cli.main import cli
from tocsin.settings import settings_model

pytestmark = pytest.mark.acceptance

LOADED_FOR_HELP = [
    "tocsin",
    "tocsin.cli",
    "tocsin.cli.catalogue",
    "tocsin.cli.client",
    "tocsin.cli.client.choices",
    "tocsin.cli.client.secret_input",
    "tocsin.cli.client.session",
    "tocsin.cli.client.values",
    "tocsin.cli.exits",
    "tocsin.cli.faults",
    "tocsin.cli.group",
    "tocsin.cli.main",
    "tocsin.cli.standard_streams",
]
SLOW_OF_PYTHON = {"asyncio", "email", "http", "multiprocessing", "socket", "sqlite3", "ssl", "subprocess", "tomllib"}
HEAVY = (
    "apsw",
    "argon2",
    "cryptography",
    "jwt",
    "prometheus_client",
    "pycurl",
    "pydantic",
    "rich",
    "starlette",
    "uvicorn",
)


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


def loaded_by(*arguments: str) -> list[str]:
    """Return the modules that are loaded once a command has ended, but for those of a Python that does nothing."""
    script = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "from tocsin.cli.main import cli\n"
        "cli(sys.argv[1:], prog_name='tocsin', standalone_mode=False)\n"
        "print('loaded:', *sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
        env=environment(),
    )
    return done.stdout.rpartition("loaded: ")[2].split()


def test_the_help_loads_click_and_little_else() -> None:
    loaded = loaded_by("--help")
    assert [name for name in loaded if name.partition(".")[0] == "tocsin"] == LOADED_FOR_HELP
    assert "click" in loaded
    assert not SLOW_OF_PYTHON & set(loaded)
    assert {name.partition(".")[0] for name in loaded} <= sys.stdlib_module_names | {"tocsin", "click"}


@pytest.mark.parametrize("command", [[], *([name] for name in entries())])
def test_help_comes_without_loading_the_program(command: list[str]) -> None:
    assert not set(HEAVY) & set(loaded_by(*command, "--help"))


def test_the_help_has_the_commands_by_what_they_do_with_a_sentence_each() -> None:
    told = run_program("--help").out
    titles = [line[:-1] for line in told.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Options", *(title for title, commands in SECTIONS.items() if commands)]
    for name, entry in entries().items():
        assert f"  {name} " in told
        assert entry.summary.split()[-1] in told


@pytest.mark.parametrize("name", entries())
def test_the_sentence_of_the_table_is_the_commands_own(name: str) -> None:
    first = " ".join((load(name).help or "").split("\n\n")[0].split())
    assert first.startswith(entries()[name].summary.removesuffix("."))


def all_commands() -> list[tuple[str, click.Command]]:
    """Return every command that is no group, with its path."""
    found: list[tuple[str, click.Command]] = []
    for name in entries():
        command = load(name)
        if isinstance(command, click.Group):
            found += [(f"{name} {each}", below) for each, below in command.commands.items()]
        else:
            found.append((name, command))
    return found


@pytest.mark.parametrize(("path", "command"), all_commands(), ids=[path for path, _ in all_commands()])
def test_every_command_has_help_and_examples_and_every_option_a_meaning(path: str, command: click.Command) -> None:
    assert command.help
    examples = (command.epilog or "").partition("Examples:\n")[2]
    assert "tocsin " in examples, f"{path} has no examples"
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help or option.show_default, f"{path} does not say what {option.opts[0]} is"


def test_every_option_of_a_client_has_a_variable_by_the_rule_and_none_is_a_setting() -> None:
    for path, command in all_commands():
        if path in OF_SETTINGS:
            continue
        for option in command.params:
            if isinstance(option, click.Option) and option.name not in GLOBAL_OPTIONS:
                flag = next(flag for flag in option.opts if flag.startswith("--"))
                words = f"TOCSIN {path} {flag[2:]}".upper().replace("-", "_").split()
                assert "_".join(words) in named(option)
    settings = {f"TOCSIN_{name.upper()}" for name in settings_model(LIMITS).model_fields}
    assert client_variables(cli) & settings == set()
    assert {"TOCSIN_URL", "TOCSIN_SEND_CATEGORY", "TOCSIN_EVENT_CLOSE_CHANNEL"} <= client_variables(cli)
