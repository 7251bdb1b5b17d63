"""``tocsin doctor``: what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tocsin.cli.client.output import styled
from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.exits import FAILED
from tocsin.cli.faults import Failure
from tocsin.cli.gateway.options import database_option

_EXAMPLES = """\b
Examples:
  tocsin doctor
  tocsin doctor --data /var/lib/tocsin --output json
  tocsin doctor --only gateway --profile prod
"""
_COLOURS = {"ok": "green", "warning": "yellow", "fault": "red"}


@click.command(epilog=_EXAMPLES)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the embedded database.  [default: as serve has it]",
)
@database_option
@click.option("--only", type=click.Choice(["local", "gateway"]), help="Half of the checks.  [default: both]")
@uses_gateway
def doctor(session: Session, data: Path | None, database: str | None, only: str | None) -> None:
    """Check this machine, its data, and the gateway, and say what to do; ends with 1 when something is wrong."""
    findings = []
    for finding in _findings(session, data, database, only):
        findings.append(finding._asdict())
        if session.out.form == "table":
            word = styled(f"{finding.result:<8}", colour=_COLOURS[finding.result])
            session.out.line(f"{word} {finding.check:<15} {finding.found}{'; ' + finding.do if finding.do else ''}")
    if session.out.form != "table":
        session.out.rows(findings)
    faults = sum(each["result"] == "fault" for each in findings)
    if faults:
        raise Failure(FAILED, f"{faults} thing{'s'[: faults > 1]} wrong; the output says what to do")


def _findings(session: Session, data: Path | None, database: str | None, only: str | None) -> Iterator[Any]:
    from tocsin.bootstrap import load_settings  # noqa: PLC0415  imports the whole program
    from tocsin.cli.gateway.checks import Finding, gateway_findings, local_findings, version_finding  # noqa: PLC0415
    from tocsin.cli.gateway.mail_check import mail_finding  # noqa: PLC0415
    from tocsin.cli.group import forget_client_variables  # noqa: PLC0415
    from tocsin.settings import SettingsFault  # noqa: PLC0415

    gateway = list(gateway_findings(session.api)) if only != "local" else []
    if only != "gateway":
        yield version_finding()
        forget_client_variables()
        try:
            settings = load_settings(data=data, database=database)
        except SettingsFault as error:
            yield Finding("settings", "fault", str(error), "docs/settings.md has every setting")
        else:
            yield Finding("settings", "ok", "every setting is known and within its bounds")
            yield from local_findings(settings, running=any(each.result == "ok" for each in gateway))
            mail = mail_finding(settings)
            if mail is not None:
                yield mail
    yield from gateway
