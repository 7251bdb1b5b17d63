"""TLS with the server: what each ``sslmode`` asks for, and what is said where it is not to be had."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from engine.certificates import Authority
from engine.postgres_server import PostgresServer, unmade_server
from program import run_program, running_program
from tocsin.engine.postgres.opening import open_store
from tocsin.engine.postgres.pool import Pool, PoolSettings
from tocsin.engine.rows import EngineRefused

PASSWORD = "canary-0f9d"
"""Stands in every URL here; no text of ours may ever hold it."""


class Sealed(NamedTuple):
    """A server that takes nobody without TLS.

    Attributes:
        files: with the certificates: ``known.pem`` of its authority, ``other.pem`` of another one, and what clients
            show.
    """

    server: PostgresServer
    files: Path

    def url(self, parameters: str, *, user: str = "app", host: str = "localhost") -> str:
        """Return the URL of its database; ``FILES`` in the parameters is where the files are."""
        query = parameters.replace("FILES", str(self.files))
        return f"postgresql://{user}:{PASSWORD}@{host}:{self.server.port}/app?{query}"


@pytest.fixture(autouse=True)
def _nothing_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have certificates in the place where the driver looks by itself."""
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="module")
def sealed() -> Iterator[Sealed]:
    with TemporaryDirectory(prefix="tocsin-tls-") as directory, _sealed(Path(directory)) as running:
        yield running


@contextmanager
def _sealed(files: Path) -> Iterator[Sealed]:
    known, other = Authority("known"), Authority("other")
    admits = [
        "hostssl all by_certificate 127.0.0.1/32 cert",
        "hostssl all app 127.0.0.1/32 scram-sha-256",
        "hostnossl all app,by_certificate 127.0.0.1/32 reject",
    ]
    with unmade_server(admits=admits, fsync="off") as server:
        server.make()
        certificate, key = known.signed("server", "localhost")
        server.settings |= {
            "ssl": "on",
            "ssl_cert_file": str(server.keep("server.pem", certificate)),
            "ssl_key_file": str(server.keep("server.key", key)),
            "ssl_ca_file": str(server.keep("known.pem", known.certificate)),
        }
        server.start()
        server.execute(
            f"create role app login password '{PASSWORD}'",
            "create role by_certificate login",
            "create database app owner app encoding 'UTF8' template template0",
        )
        for name, authority in (("known", known), ("other", other)):
            (files / f"{name}.pem").write_bytes(authority.certificate)
            shown, its_key = authority.signed("by_certificate")
            (files / f"client-{name}.pem").write_bytes(shown)
            (files / f"client-{name}.key").write_bytes(its_key)
        yield Sealed(server, files)


def _refusal(url: str) -> str:
    async def run() -> str:
        with pytest.raises(EngineRefused) as refused:
            await open_store(Pool(PoolSettings(dsn=url)), fsync_needed=False, migrates=False)
        return str(refused.value)

    told = asyncio.run(run())
    assert PASSWORD not in told
    return told


def _is_encrypted(url: str) -> bool:
    async def run() -> bool:
        pool = Pool(PoolSettings(dsn=url))
        connection = await pool.connect()
        try:
            return bool(await connection.fetchval("select ssl from pg_stat_ssl where pid = pg_backend_pid()"))
        finally:
            connection.terminate()

    return asyncio.run(run())


KNOWN = "sslmode=verify-full&sslrootcert=FILES/known.pem"
SHOWN = "&sslcert=FILES/client-known.pem&sslkey=FILES/client-known.key"


@pytest.mark.parametrize(
    ("parameters", "host"),
    [
        ("", "localhost"),
        ("sslmode=allow", "localhost"),
        ("sslmode=prefer", "localhost"),
        ("sslmode=require", "localhost"),
        ("sslmode=verify-ca&sslrootcert=FILES/known.pem", "127.0.0.1"),
        (KNOWN, "localhost"),
        (f"{KNOWN}&ssl_min_protocol_version=TLSv1.3", "localhost"),
    ],
)
def test_what_the_server_can_do_is_used(sealed: Sealed, parameters: str, host: str) -> None:
    assert _is_encrypted(sealed.url(parameters, host=host))


def test_a_user_may_show_a_certificate_instead_of_a_password(sealed: Sealed) -> None:
    assert _is_encrypted(sealed.url(KNOWN + SHOWN, user="by_certificate"))


@pytest.mark.parametrize("mode", ["", "?sslmode=prefer", "?sslmode=allow", "?sslmode=disable"])
def test_a_server_without_it_is_taken_by_those_who_do_not_ask(dsn: str, mode: str) -> None:
    assert not _is_encrypted(dsn + mode)


def test_a_server_without_it_is_refused_by_those_who_ask(dsn: str) -> None:
    assert "the server does not speak TLS; " in _refusal(f"{dsn}?sslmode=require")


@pytest.mark.parametrize(
    ("parameters", "host", "told"),
    [
        ("sslmode=disable", "localhost", "no encryption; "),
        (
            "sslmode=verify-full&sslrootcert=FILES/other.pem",
            "localhost",
            "not to be trusted (self-signed certificate",
        ),
        ("sslmode=verify-ca&sslrootcert=FILES/other.pem", "localhost", "not to be trusted (self-signed certificate"),
        # As libpq has it: an authority that is named is asked, though the mode alone would not.
        ("sslmode=require&sslrootcert=FILES/other.pem", "localhost", "not to be trusted (self-signed certificate"),
        (KNOWN, "127.0.0.1", "not valid for '127.0.0.1'.); give its authority as sslrootcert"),
        ("sslmode=verify-full", "localhost", "give its authority's as sslrootcert=FILE"),
        (
            "sslmode=verify-full&sslrootcert=FILES/gone.pem",
            "localhost",
            "gone.pem, which cannot be read (No such file",
        ),
        ("sslmode=verify-full&sslrootcert=FILES/client-known.key", "localhost", "TLS fails (NO_CERTIFICATE"),
        ("sslmode=verified", "localhost", "must be one of: disable, allow, prefer"),
        ("target_session_attrs=primary-only", "localhost", "none of libpq's words; write read-write"),
        ("sslmode=require&connect_timeout=3", "localhost", '"connect_timeout"; leave it out of --database'),
    ],
)
def test_what_is_not_as_it_is_asked_for_is_refused_with_words(
    sealed: Sealed, parameters: str, host: str, told: str
) -> None:
    assert told in _refusal(sealed.url(parameters, host=host))


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        ("", "valid client certificate; give one of the user with sslcert and sslkey"),
        # Whether the server's reason arrives before the connection ends is a race: both texts say this.
        (
            "&sslcert=FILES/client-other.pem&sslkey=FILES/client-other.key",
            "sslcert and sslkey in --database, and to the server's log",
        ),
        ("&sslcert=FILES/client-known.pem&sslkey=FILES/client-other.key", "TLS fails (KEY_VALUES_MISMATCH)"),
        ("&sslcert=FILES/client-known.pem&sslkey=FILES/gone.key", "gone.key, which cannot be read"),
    ],
)
def test_a_client_whose_certificate_is_not_taken_is_told_why(sealed: Sealed, shown: str, told: str) -> None:
    assert told in _refusal(sealed.url(KNOWN + shown, user="by_certificate"))


# -- the program -------------------------------------------------------------------------------------------


def _settings(url: str) -> dict[str, str]:
    return {
        "TOCSIN_DATABASE": url,
        "TOCSIN_SECRET_KEY": "11" * 32,
        "TOCSIN_POSTGRES_FSYNC_NEEDED": "false",
        "TOCSIN_LOG_FORMAT": "json",
        "TOCSIN_LOG_LEVEL": "debug",
    }


@pytest.mark.acceptance
def test_a_gateway_runs_on_a_database_whose_certificate_it_checks(sealed: Sealed, tmp_path: Path) -> None:
    settings = _settings(sealed.url(KNOWN))
    with running_program(tmp_path, settings=settings) as running:
        ((total, encrypted),) = sealed.server.execute(
            "select count(*), count(*) filter (where ssl) from pg_stat_activity join pg_stat_ssl using (pid) "
            "where usename = 'app'"
        )[0]
        assert total == encrypted > 0
    assert PASSWORD not in running.out + running.err
    looked = run_program("doctor", "--only", "local", settings=settings, directory=tmp_path)
    assert {each["check"]: each["result"] for each in looked.rows}["database"] == "ok"


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ("sslmode=verify-full&sslrootcert=FILES/other.pem", "is not to be trusted"),
        ("sslmode=verify-full&sslrootcert=FILES/gone.pem", "which cannot be read"),
        ("sslmode=disable", "no encryption"),
    ],
)
def test_a_database_that_is_not_trusted_ends_the_start_and_doctor_tells_it(
    sealed: Sealed, parameters: str, told: str, tmp_path: Path
) -> None:
    settings = _settings(sealed.url(parameters))
    done = run_program("serve", "--port", "0", settings=settings, directory=tmp_path)
    assert (done.status, done.out) == (3, "")
    assert told in done.err
    looked = run_program("doctor", "--only", "local", settings=settings, directory=tmp_path)
    (row,) = (each for each in looked.rows if each["check"] == "database")
    assert (looked.status, row["result"]) == (1, "fault")
    assert told in row["found"]
    assert row["do"]
    assert PASSWORD not in done.err + looked.out + looked.err
