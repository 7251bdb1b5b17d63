"""URLs of databases: which are taken, and how they are shown."""

from __future__ import annotations

from urllib.parse import urlsplit


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


def shown_url(url: str) -> str:
    """Return where a URL leads, without who it names, and without its parameters, any of which may be a secret."""
    parts = urlsplit(url)
    return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"
