"""``tocsin verify``: whether a webhook's signature is right, and if not, why."""

from __future__ import annotations

import time

import click

from tocsin.cli.client.output import Printer
from tocsin.cli.client.secret_input import secret_option, signing_secret
from tocsin.cli.client.session import uses_output
from tocsin.cli.client.values import bytes_of, moment_ms
from tocsin.cli.exits import FAILED, USAGE
from tocsin.cli.faults import Failure

_EXAMPLES = """\b
Examples:
  tocsin verify --headers headers.txt --body body.json --secret-file secret.txt
  tocsin verify -H "webhook-id: ..." -H "webhook-timestamp: ..." -H "webhook-signature: v1,..." < body.json
  tocsin verify --headers headers.txt --body body.json --at 2026-03-06T10:30:00Z --tolerance 300
"""


@click.command(epilog=_EXAMPLES)
@click.option("-H", "--header", "lines", metavar="NAME: VALUE", multiple=True, help="A header. May be repeated.")
@click.option("--headers", "headers_file", metavar="FILE", help="File of headers, a line each; - is stdin.")
@click.option("--body", "body_file", metavar="FILE", default="-", help="File with the body.  [default: stdin]")
@secret_option
@click.option(
    "--scheme", type=click.Choice(["standard", "promptjang"]), help="[default: by the headers; of both, both]"
)
@click.option("--tolerance", "tolerance_s", type=click.IntRange(0), metavar="S", default=300, show_default=True)
@click.option("--at", metavar="TIME", help="The moment to judge the timestamp by.  [default: now]")
@uses_output
def verify(
    out: Printer,
    lines: tuple[str, ...],
    headers_file: str | None,
    body_file: str,
    secret_file: str | None,
    scheme: str | None,
    tolerance_s: int,
    at: str | None,
) -> None:
    """Check a webhook's signature, and say why it is wrong.

    It knows Standard Webhooks (webhook-id, webhook-timestamp, webhook-signature) and PromptJang's (X-PJ-Signature,
    X-PJ-Timestamp). The secret file may hold several secrets, a line each, as during a rotation. The exit status is 0
    for a right signature and 1 for a wrong one.
    """
    from tocsin.cli.tools.verification import Signed, judge, schemes_of  # noqa: PLC0415  the help does without

    if [headers_file, body_file, secret_file].count("-") > 1:
        raise Failure(USAGE, "stdin can be only one of headers, body and secret; give the others as files")
    headers = _headers([*lines, *(_lines_of(headers_file) if headers_file else ())])
    schemes = [scheme] if scheme else schemes_of(headers)
    if not schemes:
        raise Failure(
            FAILED, "there is no signature: neither webhook-signature nor X-PJ-Signature is among the headers"
        )
    signed = Signed(
        headers=headers,
        body=bytes_of(body_file),
        secrets=signing_secret(secret_file).splitlines(),
        now_s=(moment_ms(at) if at else time.time_ns() // 1_000_000) // 1000,
        tolerance_s=tolerance_s,
    )
    verdicts = [judge(each, signed) for each in schemes]
    out.rows(
        (
            {"scheme": verdict.scheme, "valid": verdict.valid, "why": "; ".join(verdict.faults) or None}
            for verdict in verdicts
        ),
        ("scheme", "valid", "why"),
    )
    wrong = [f"{verdict.scheme}: {fault}" for verdict in verdicts for fault in verdict.faults]
    if wrong:
        raise Failure(FAILED, f"the signature is not to be trusted; {wrong[0]}")


def _lines_of(path: str) -> list[str]:
    return bytes_of(path).decode("latin-1").splitlines()


def _headers(lines: list[str]) -> dict[str, str]:
    """Return headers by name in lower case; a request line and blank lines are passed over."""
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon and name and " " not in name.strip():
            found[name.strip().lower()] = value.strip()
    return found
