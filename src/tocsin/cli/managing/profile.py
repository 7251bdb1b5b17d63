"""``tocsin profile``: gateways with their keys, under names."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TextIO

import click

from tocsin.cli.client.output import Printer
from tocsin.cli.client.session import uses_output
from tocsin.cli.exits import NOT_FOUND, USAGE
from tocsin.cli.faults import Failure

_EXAMPLES = """\b
Examples:
  tocsin profile add home --url http://127.0.0.1:8080
  tocsin profile add prod --url https://tocsin.example.com --use
  tocsin profile list
  tocsin --profile prod whoami
"""
_ADD_EXAMPLES = """\b
Examples:
  tocsin profile add prod --url https://tocsin.example.com    # asks for the key
  tocsin profile add ci --url https://tocsin.example.com --key-file /run/secrets/tocsin --use
  pass show tocsin | tocsin profile add home --url http://127.0.0.1:8080 --key-file -
  tocsin profile add home --url http://127.0.0.1:8080 --no-key
"""


@click.group(epilog=_EXAMPLES)
def profile() -> None:
    """Keep gateways with their keys under names."""


@profile.command(epilog=_ADD_EXAMPLES)
@click.argument("name")
@click.option("--url", "address", metavar="URL", help="The gateway.  [default: http://127.0.0.1:8080]")
@click.option("--key-file", type=click.File("r", encoding="utf-8"), help="File with the key; - is stdin.")
@click.option("--no-key", is_flag=True, help="Keep no key, and do not ask for one.")
@click.option("--use", is_flag=True, help="Use it from now on, where no other is asked for.")
@uses_output
def add(out: Printer, name: str, address: str | None, key_file: TextIO | None, no_key: bool, use: bool) -> None:
    """Add a profile, or replace it; the first one is in use from then on."""
    from tocsin.cli.client import profiles  # noqa: PLC0415  the help does without
    from tocsin.cli.client.api import Api  # noqa: PLC0415

    kept = profiles.read()
    key: str | None = None
    if key_file is not None:
        key = key_file.read().strip() or None
    elif not no_key:
        if not sys.stdin.isatty():
            raise Failure(USAGE, "there is nobody to ask for the key; give it with --key-file, or say --no-key")
        key = click.prompt("API key", hide_input=True, err=True).strip() or None
    url = address or profiles.DEFAULT_URL
    with Api(url, key):  # refuses what cannot be used, before it is kept
        changed = profiles.with_profile(kept, name, profiles.Profile(url, key), use=use)
    place = profiles.write(changed)
    out.note(f"profile {name} is kept in {place}" + (" and in use" if changed.current == name else ""))


@profile.command("list", epilog="\b\nExamples:\n  tocsin profile list --output json\n")
@uses_output
def list_profiles(out: Printer) -> None:
    """List the profiles; of a key only its last characters are shown."""
    from tocsin.cli.client import profiles  # noqa: PLC0415

    kept = profiles.read()
    out.rows(
        {"name": name, "url": each.url, "key": profiles.masked(each.key), "in_use": name == kept.current}
        for name, each in kept.named.items()
    )


@profile.command(epilog="\b\nExamples:\n  tocsin profile use prod\n")
@click.argument("name")
@uses_output
def use(out: Printer, name: str) -> None:
    """Use a profile from now on, where no other is asked for."""
    from tocsin.cli.client import profiles  # noqa: PLC0415

    kept = profiles.read()
    _known(name, kept.named)
    profiles.write(replace(kept, current=name))
    out.note(f"profile {name} is in use")


@profile.command(epilog="\b\nExamples:\n  tocsin profile remove prod\n")
@click.argument("name")
@uses_output
def remove(out: Printer, name: str) -> None:
    """Remove a profile and its key."""
    from tocsin.cli.client import profiles  # noqa: PLC0415

    kept = profiles.read()
    _known(name, kept.named)
    profiles.write(profiles.without_profile(kept, name))
    out.note(f"profile {name} is removed")


def _known(name: str, named: object) -> None:
    if not isinstance(named, dict) or name not in named:
        raise Failure(NOT_FOUND, f"there is no profile {name}; tocsin profile list shows those there are")
