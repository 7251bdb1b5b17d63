"""Why a database is not to be had, in words that name the next step and no secret."""

from __future__ import annotations

import ssl

import asyncpg

from tocsin.engine.postgres.urls import UnreadableFile

_OF_SETTINGS = ("sslmode", "sslnegotiation", "TLS", "certificate", "session", "gsslib")
"""What a fault of the URL's parameters speaks of; any other text of the driver may repeat some of the password."""


def refusal_of(error: BaseException) -> str:
    """Return what an exception of the driver says, as one sentence with the next step behind a semicolon."""
    if isinstance(error, asyncpg.ConnectionDoesNotExistError) and isinstance(error.__cause__, ssl.SSLError):
        # The server looks at a client's certificate when the client thinks that both are through with that.
        return refusal_of(error.__cause__)
    if isinstance(error, asyncpg.PostgresError):
        return _server_refused(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not to be trusted ({error.verify_message}); give its authority as "
            "sslrootcert in --database, and the host as the certificate names it"
        )
    if isinstance(error, UnreadableFile):
        return f"{error}; it must be there for the user that Tocsin runs as"
    if isinstance(error, ConnectionError) and "SSL" in str(error):
        return (
            "the server does not speak TLS; switch it on there, or ask for less in --database with sslmode; where "
            "that asks for none, this is no PostgreSQL"
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"TLS fails ({error.reason or _first_line(error)}); see to sslrootcert, sslcert and sslkey in "
            "--database, and to the server's log"
        )
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return "no server of those in --database takes writes; promote a standby, or name the primary, too"
    if isinstance(error, TimeoutError):
        return "it does not answer in time; is the host in --database right, and does a firewall let Tocsin through"
    if isinstance(error, OSError):
        return f"{_first_line(error)}; is the server running, and are host and port in --database right"
    if isinstance(error, asyncpg.ClientConfigurationError | ValueError):
        return _url_refused(_first_line(error))
    return f"{type(error).__name__}; is this a PostgreSQL"


def _url_refused(text: str) -> str:
    if "root certificate" in text:
        return "sslmode in --database checks the server's certificate; give its authority's as sslrootcert=FILE"
    if "target_session_attrs" in text:
        return "target_session_attrs in --database is none of libpq's words; write read-write"
    said = f" ({text})" if any(word in text for word in _OF_SETTINGS) else ""
    return f"the URL is not understood{said}; write postgresql://user:password@host:5432/name, percent-encoded"


def _server_refused(error: asyncpg.PostgresError) -> str:
    text = _first_line(error)
    if isinstance(error, asyncpg.ConnectionDoesNotExistError):
        # The reason that it gave is lost where the end of the connection overtakes it.
        return (
            "the server ended the connection; where it asks for a certificate see to sslcert and sslkey in "
            "--database, and to the server's log"
        )
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError) and "certificate" in text:
        return f"{text}; give one of the user with sslcert and sslkey in --database"
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        # A wrong password is one of these, too; the server's text names the user.
        return f"{text}; see to user and password in --database, and to the server's pg_hba.conf"
    if isinstance(error, asyncpg.ProtocolViolationError):
        # What poolers say, whatever it is about.
        if "startup parameter" in text:
            return f"{text}, which the pooler does not take; drop it from --database, and use ALTER ROLE ... SET"
        return f"{text}; see to what --database names, and to the log of the pooler there"
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return f"{text}; make it with: createdb --encoding UTF8"
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return f"{text}; raise its max_connections, or lower TOCSIN_POSTGRES_CONNECTIONS"
    if isinstance(error, asyncpg.UndefinedObjectError) and "configuration parameter" in text:
        # What the driver does not know of a URL's parameters it sends as settings of the server's.
        return f"{text}; leave it out of --database"
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return f"{text}; let the user create tables in its schema, or make it the owner of the database"
    return f"{text} (SQLSTATE {error.sqlstate}); see the server's log"


def _first_line(error: BaseException) -> str:
    text = str(error).splitlines()
    return text[0] if text else type(error).__name__
