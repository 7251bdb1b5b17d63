"""Options: none of a command's own hides one that every command has."""

from __future__ import annotations

from collections import Counter

import click
import pytest

from cli.test_help import all_commands


@pytest.mark.parametrize(("path", "command"), all_commands(), ids=[path for path, _ in all_commands()])
def test_no_option_of_a_command_is_there_twice(path: str, command: click.Command) -> None:
    flags = Counter(flag for option in command.params for flag in (*option.opts, *option.secondary_opts))
    assert [flag for flag, count in flags.items() if count > 1] == [], path
