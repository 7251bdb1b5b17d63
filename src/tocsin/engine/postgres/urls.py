"""URLs of databases: which are taken, and how they are shown."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_PORT_MAX = 65_535
_WRITABLE = {"target_session_attrs": "read-write"}


def check_database_url(url: str) -> None:
    """Return if this may be the URL of a PostgreSQL; its driver reads the rest.

    Raises:
        ValueError: it is not. The text repeats nothing of the URL, of which any part may belong to the password.
    """
    is_written_well = url.isascii() and url.isprintable() and " " not in url and "#" not in url
    if not is_written_well or not url.startswith(("postgresql://", "postgres://")) or url.count("@") > 1:
        raise ValueError(
            "must be postgresql://user:password@host:5432/name, user and password percent-encoded; without it Tocsin "
            "stores in SQLite, in the directory of --data (TOCSIN_DATA)"
        )
    hosts = url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]
    if any(_is_past_ports(host.rpartition("]")[2].partition(":")[2]) for host in hosts.split(",")):
        raise ValueError("must name a port of 1 to 65535")


def _is_past_ports(text: str) -> bool:
    """Return whether a number is no port; the driver cuts it down to another one, or fails."""
    digits = text.lstrip("0")
    return text.isdecimal() and (not digits or len(digits) > 5 or int(digits) > _PORT_MAX)


def urls_of_servers(url: str) -> list[str]:
    """Return a URL for each server that a URL names, in its order; of several, those that take writes are wanted.

    Source: PostgreSQL's documentation, libpq, "Specifying Multiple Hosts".
    """
    try:
        parts = urlsplit(url)
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        # The driver says what is wrong with it.
        return [url]
    who, at, hosts = parts.netloc.rpartition("@")
    found = [(parts._replace(netloc=f"{who}{at}{host}"), parameters) for host in hosts.split(",")]
    if not hosts and "host" in parameters:
        names = parameters["host"].split(",")
        ports = parameters.get("port", "5432").split(",")
        ports *= len(names) if len(ports) == 1 else 1
        if len(ports) != len(names):
            return [url]
        found = [(parts, parameters | {"host": name, "port": port}) for name, port in zip(names, ports, strict=True)]
    if len(found) == 1:
        return [url]
    return [
        each._replace(query=urlencode(_WRITABLE | its, quote_via=quote, safe="/")).geturl() for each, its in found
    ]


class UnreadableFile(OSError):
    """A file that a URL names cannot be read; the text says which, and of which parameter."""


def check_files(url: str) -> None:
    """Return if the files of certificates and keys that a URL names can be read.

    Raises:
        UnreadableFile: one cannot; the driver would not say which.
    """
    for name, path in parse_qsl(urlsplit(url).query):
        if name in _FILES:
            try:
                with Path(path).open("rb"):
                    pass
            except OSError as error:
                raise UnreadableFile(
                    f"{name} in --database names {path}, which cannot be read ({error.strerror})"
                ) from error


def shown_url(url: str) -> str:
    """Return where a URL leads, without who it names, and without its parameters, any of which may be a secret."""
    parts = urlsplit(url)
    return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"
