"""The check of the mail server: connection, greeting, TLS and login, without a mail."""

from __future__ import annotations

import asyncio
from typing import Any

from tocsin.cli.gateway.checks import Finding

CHECK = "mail server"


def mail_finding(settings: Any) -> Finding | None:
    """Return what is found of the mail server, or None where none is set."""
    from tocsin.bootstrap import SystemClock  # noqa: PLC0415  imports the whole program
    from tocsin.transports.smtp.connections import Connections, SmtpLimits  # noqa: PLC0415
    from tocsin.transports.smtp.faults import SmtpFault  # noqa: PLC0415
    from tocsin.transports.smtp.server import Security, parse_smtp_url, sender_of  # noqa: PLC0415

    url = settings.values.smtp_url
    if url is None:
        return None
    server = parse_smtp_url(url.get_secret_value())
    place = f"{server.host} port {server.port}"

    async def look() -> int | None:
        connections = Connections(server, limits=settings.limits("smtp", SmtpLimits), clock=SystemClock())
        await connections.open()
        try:
            return (await connections.take()).connect_ms
        finally:
            connections.close()

    try:
        connect_ms = asyncio.run(look())
    except SmtpFault as fault:
        return Finding(CHECK, "fault", f"{place}: {fault.error}", "see to it, or to TOCSIN_SMTP_URL")
    steps = ["connected", "EHLO"]
    if server.security is not Security.PLAIN:
        steps.insert(2 if server.security is Security.STARTTLS else 1, server.security.name)
    if server.user is not None:
        steps.append("AUTH")
    sender = sender_of(settings.values.smtp_from, server).address.text
    found = f"{place}: {', '.join(steps)} in {connect_ms} ms; mails are from {sender}"
    if server.user is not None and server.security is Security.PLAIN:
        return Finding(CHECK, "warning", found, "the password goes in clear: smtps:// or smtp+starttls:// keep it")
    return Finding(CHECK, "ok", found)
