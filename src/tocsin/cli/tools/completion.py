"""``tocsin completion``: the script that completes commands in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_EXAMPLES = """\b
Examples:
  eval "$(tocsin completion bash)"                                       # in ~/.bashrc
  tocsin completion zsh > "${fpath[1]}/_tocsin"
  tocsin completion fish > ~/.config/fish/completions/tocsin.fish
"""


@click.command(epilog=_EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands in a shell."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(click.Command("tocsin"), {}, "tocsin", "_TOCSIN_COMPLETE").source())
