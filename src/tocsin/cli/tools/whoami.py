"""``tocsin whoami``: which gateway, which organisation."""

from __future__ import annotations

import click

from tocsin.cli.client.session import Session, uses_gateway

_EXAMPLES = """\b
Examples:
  tocsin whoami
  tocsin whoami --profile prod --output json
"""


@click.command(epilog=_EXAMPLES)
@uses_gateway
def whoami(session: Session) -> None:
    """Show which gateway and which organisation commands would talk to."""
    from tocsin.cli.client.profiles import masked  # noqa: PLC0415  the help does without

    organisation = session.api.get("/api/v1/orgs")
    session.out.record(
        {
            "url": session.api.base_url,
            "profile": session.profile,
            "key": masked(session.api.key),
            "organisation_id": organisation.get("id"),
            "organisation": organisation.get("name"),
            "plan": organisation.get("plan"),
        }
    )
