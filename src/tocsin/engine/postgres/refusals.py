"""Why a database is not to be had, in words that name the next step and no secret."""

from __future__ import annotations

import ssl

import asyncpg

_OF_SETTINGS = ("sslmode", "sslnegotiation", "TLS", "certificate", "session", "gsslib")
"""What a fault of the URL's parameters speaks of; any other text of the driver may repeat some of the password."""


def refusal_of(error: BaseException) -> str:
    """Return what an exception of the driver says, as one sentence with the next step behind a semicolon."""
    if isinstance(error, asyncpg.PostgresError):
        return _server_refused(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not to be trusted ({error.verify_message}); give its authority as "
            "sslrootcert in --database, and the host as the certificate names it"
        )
    if isinstance(error, ssl.SSLError) or (isinstance(error, OSError) and "SSL" in str(error)):
        return "the server does not speak TLS; switch it on there, or ask for less in --database with sslmode"
    if isinstance(error, TimeoutError):
        return "it does not answer in time; is the host in --database right, and does a firewall let Tocsin through"
    if isinstance(error, OSError):
        return f"{_first_line(error)}; is the server running, and are host and port in --database right"
    if isinstance(error, asyncpg.ClientConfigurationError | ValueError):
        text = _first_line(error)
        said = f" ({text})" if any(word in text for word in _OF_SETTINGS) else ""
        return f"the URL is not understood{said}; write postgresql://user:password@host:5432/name, percent-encoded"
    return f"{type(error).__name__}; is this a PostgreSQL"


def _server_refused(error: asyncpg.PostgresError) -> str:
    text = _first_line(error)
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        # A wrong password is one of these, too; the server's text names the user.
        return f"{text}; see to user and password in --database, and to the server's pg_hba.conf"
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return f"{text}; make it with: createdb --encoding UTF8"
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return f"{text}; raise its max_connections, or lower TOCSIN_POSTGRES_CONNECTIONS"
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return f"{text}; let the user create tables in its schema, or make it the owner of the database"
    return f"{text} (SQLSTATE {error.sqlstate}); see the server's log"


def _first_line(error: BaseException) -> str:
    text = str(error).splitlines()
    return text[0] if text else type(error).__name__
