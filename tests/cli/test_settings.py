"""Settings: each has a default that its bounds allow and the page tells, and a wrong one is told with its name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from tocsin.bootstrap import LIMITS, check_processes, load_settings
from tocsin.bootstrap.configuration import plan_limits, retention_ms, transaction_lease_ms
from tocsin.core.quota import PLAN_LIMITS, Plan
from tocsin.settings import FOR_TESTS, SettingsFault, parse_networks, scalars, settings_model
from tocsin.transports.smtp.server import parse_smtp_url, sender_of
from tocsin.web.server import ServerLimits

PAGE = Path(__file__).parent.parent.parent / "docs" / "settings.md"
ALL = settings_model(LIMITS).model_fields
NUMBERS = [
    f"{prefix}_{name}" for prefix, group in LIMITS.items() for name, kind in scalars(group) if kind is not bool
]


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run in an empty directory, without a setting."""
    monkeypatch.chdir(tmp_path)
    for name in ALL:
        monkeypatch.delenv(f"TOCSIN_{name.upper()}", raising=False)


def faulty(**flags: Any) -> str:
    """Return what is said of settings that are refused."""
    with pytest.raises(SettingsFault) as fault:
        load_settings(**flags)
    return str(fault.value)


# -- defaults ----------------------------------------------------------------------------------------------


def test_every_setting_is_on_the_page_with_its_default() -> None:
    rows = re.findall(r"^\| `TOCSIN_(\w+)` \| (?:`([^`]*)`)? \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    page = {name.lower(): default for name, default, meaning in rows if meaning.strip()}
    assert page.keys() == ALL.keys()
    for name, field in ALL.items():
        shown = "none" if field.default is None and page[name] else field.default
        assert page[name] == ("" if shown in (None, "") else str(shown)), name


def test_the_limits_of_every_part_are_its_own_defaults() -> None:
    settings = load_settings()
    for prefix, defaults in LIMITS.items():
        assert settings.limits(prefix, type(defaults)) == defaults
    assert plan_limits(settings) == {plan: PLAN_LIMITS[plan] for plan in Plan}
    assert retention_ms(settings) == 90 * 86_400_000
    assert transaction_lease_ms(settings) is None


# -- where they come from ----------------------------------------------------------------------------------


def test_a_limit_is_set_by_the_name_of_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_SERVER_IDLE_S", "7.5")
    assert load_settings().limits("server", ServerLimits).idle_s == 7.5


def test_flags_come_first_then_the_environment_then_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("tocsin.toml").write_text('host = "file"\nport = 1\nserver_idle_s = 1.0\n', "utf-8")
    monkeypatch.setenv("TOCSIN_HOST", "environment")
    monkeypatch.setenv("TOCSIN_PORT", "2")
    values = load_settings(host="flag", port=None).values
    assert (values.host, values.port, values.server_idle_s, values.jwt_issuer) == ("flag", 2, 1.0, "tocsin")


def test_what_only_tests_read_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{FOR_TESTS}ANYTHING", "1")
    load_settings()


def test_a_limit_that_may_be_lifted_is_lifted_by_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().values.plan_free_events_per_month == 100
    monkeypatch.setenv("TOCSIN_PLAN_FREE_EVENTS_PER_MONTH", "none")
    assert plan_limits(load_settings())[Plan.FREE].events_per_month is None


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TOCSIN_PROT", "TOCSIN_PORT"),
        ("TOCSIN_SERVER_IDLE", "TOCSIN_SERVER_IDLE_S"),
        ("TOCSIN_PUSHGO_TOKENS", "TOCSIN_PUSHGO_TOKEN"),
        ("TOCSIN_ZZZZZZZZZZZZ", None),
    ],
)
def test_an_unknown_variable_is_told_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str | None
) -> None:
    monkeypatch.setenv(name, "1")
    said = faulty()
    assert name in said
    assert ("did you mean" in said) == (meant is not None)
    assert meant is None or said.endswith(f"did you mean {meant}?")


@pytest.mark.parametrize(
    "name", ["TOCSIN_PUSHGO_TOKEN", "TOCSIN_SECRET_KEY", "TOCSIN_HOST", "TOCSIN_DATA", "TOCSIN_PORT"]
)
def test_an_empty_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "")
    assert name in faulty()
    assert "is empty" in faulty()


def test_an_empty_list_of_networks_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_OUTBOUND_ALLOW", "")
    assert load_settings().values.outbound_allow == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "http"),
        ("port", "-1"),
        ("port", "65536"),
        ("log_level", "loud"),
        ("log_format", "xml"),
        ("debug", "perhaps"),
        ("retention_days", "-1"),
        ("retention_days", "nan"),
        ("retention_days", "inf"),
        ("database", "mysql://db/tocsin"),
        ("database", "postgresql://u:p@db:65536/tocsin"),
        ("database", "postgresql://u:p@[::1]:0/tocsin"),
        ("database_listen", "postgresql://u:p@db1:5432,db2:99999/tocsin"),
        ("secret_key", "short"),
        ("secret_key", "zz" * 32),
        ("outbound_allow", "10.0.0.0/8,nowhere"),
        ("outbound_allow", "10.0.0.1/8"),
        ("jwt_issuer", "none"),
        ("discord_api_base", "ftp://discord.com"),
        ("discord_api_base", "discord.com/api"),
        ("discord_api_base", "https:///api"),
        ("discord_api_base", "https://discord.com/api?v=10"),
        ("discord_api_base", "https://discord.com/api#v10"),
        ("discord_api_base", "https://discord.com:0"),
        ("telegram_api_base", "https://user:sesame@api.telegram.org"),
        ("telegram_api_base", "https://api.telegram.org:port"),
        ("telegram_api_base", "https://api. telegram.org"),
        ("telegram_api_base", "https://api.telegram.org/\u00e9"),
        ("telegram_api_base", "none"),
    ],
)
def test_a_value_out_of_bounds_is_told_with_its_name_and_without_itself(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"TOCSIN_{name.upper()}", value)
    said = faulty()
    assert said.startswith(f"setting {name} (TOCSIN_{name.upper()}): ")
    assert "SecretStr" not in said
    assert name != "secret_key" or value not in said


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:99999@db/tocsin",
        "postgresql://167772161/tocsin",
        "postgresql://u:p@[::1]:65535,db2/tocsin",
        "postgresql://u:99999@/tocsin?host=/run/postgresql",
    ],
)
def test_what_is_no_port_is_not_judged_as_one(url: str) -> None:
    assert load_settings(database=url).values.database.get_secret_value() == url


def test_each_of_several_processes_has_a_port_for_its_metrics() -> None:
    database = "postgresql://u@db/tocsin"
    check_processes(load_settings(database=database, processes=2, metrics_port=65_534))
    with pytest.raises(SettingsFault, match=r"TOCSIN_METRICS_PORT.*begin lower"):
        check_processes(load_settings(database=database, processes=2, metrics_port=65_535))


@pytest.mark.parametrize(
    "value",
    [
        "mail.example.com",
        "mail.example.com:25",
        "http://mail.example.com",
        "smtp+ssl://mail.example.com",
        "smtp:mail.example.com",
        "smtp://",
        "smtp://user:qzxw@",
        "smtp://user:qzxw@:25",
        "smtp://user:qz#xw@mail.example.com",
        "smtp://user:qz/xw@mail.example.com",
        "smtp://user:qzxw@mail.example.com:port",
        "smtp://user:qzxw@mail.example.com:0",
        "smtp://user:qzxw@mail.example.com:65536",
        "smtp://user:qzxw@[mail]",
        "smtp://user:qz\u2100xw@mail.example.com",
        "smtp://user:qz xw@mail.example.com",
        "smtp://user:qzxw@mail.example.com\n",
        "smtp://user:qzxw@mail.example.com/path",
        "smtp://mail.example.com?tls=yes",
        "smtp://user@mail.example.com",
        "smtp://:qzxw@mail.example.com",
    ],
)
def test_what_is_no_mail_server_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TOCSIN_SMTP_URL", value)
    said = faulty()
    assert said.startswith("setting smtp_url (TOCSIN_SMTP_URL): ")
    for secret in ("qz", "xw", "user@", "example"):
        assert secret not in said


@pytest.mark.parametrize(
    "value",
    [
        "smtp://mail.example.com",
        "smtp://127.0.0.1:1025",
        "smtps://user:p%23ss@mail.example.com:465/",
        "smtp+starttls://user%40example.com:p@ss:word@[::1]:587",
        "SMTP://mail",
    ],
)
def test_a_mail_server_is_taken_as_it_is_written(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TOCSIN_SMTP_URL", value)
    monkeypatch.setenv("TOCSIN_SMTP_FROM", "alerts@example.com")
    assert load_settings().values.smtp_url.get_secret_value() == value


def test_a_user_that_is_no_text_is_refused_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_SMTP_URL", "smtp://user:qz%ffxw@mail.example.com")
    said = faulty()
    assert "percent-encoded UTF-8" in said
    assert "qz" not in said


@pytest.mark.parametrize(
    ("url", "sender"),
    [
        ("smtps://alerts%40example.com:p@mail.example.com", "alerts@example.com"),
        ("smtp://127.0.0.1:1025", "tocsin@localhost"),
        ("smtp://localhost", "tocsin@localhost"),
        ("smtp://mail.example.com", None),
        ("smtps://apikey:p@mail.example.com", None),
    ],
)
def test_who_mails_are_from_is_known_at_the_start(
    monkeypatch: pytest.MonkeyPatch, url: str, sender: str | None
) -> None:
    monkeypatch.setenv("TOCSIN_SMTP_URL", url)
    if sender is None:
        assert faulty() == (
            "setting smtp_from (TOCSIN_SMTP_FROM): must be set, since the user of TOCSIN_SMTP_URL is no mail address "
            "that mails could be from"
        )
    else:
        values = load_settings().values
        assert sender_of(values.smtp_from, parse_smtp_url(url)).address.text == sender
    monkeypatch.setenv("TOCSIN_SMTP_FROM", "no address")
    assert "must be a mail address" in faulty()
    monkeypatch.setenv("TOCSIN_SMTP_FROM", "Tocsin <ops@example.com>")
    assert load_settings().values.smtp_from == "Tocsin <ops@example.com>"


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("https://t.example.com/", "https://t.example.com"),
        ("http://localhost:8080/tocsin", "http://localhost:8080/tocsin"),
    ],
)
def test_the_public_url_has_no_slash_at_its_end(monkeypatch: pytest.MonkeyPatch, value: str, taken: str) -> None:
    monkeypatch.setenv("TOCSIN_PUBLIC_URL", value)
    assert load_settings().values.public_url == taken


@pytest.mark.parametrize(
    "value", ["t.example.com", "ftp://t.example.com", "https://u:p@t.example.com", "https://t/?a"]
)
def test_what_is_no_public_url_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TOCSIN_PUBLIC_URL", value)
    assert faulty().startswith("setting public_url (TOCSIN_PUBLIC_URL): ")


@pytest.mark.parametrize("name", ["discord_api_base", "telegram_api_base"])
@pytest.mark.parametrize(
    ("value", "base"),
    [
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("https://bots.example.com/api/", "https://bots.example.com/api"),
        ("http://[::1]:8081/", "http://[::1]:8081"),
    ],
)
def test_the_base_of_an_api_has_no_slash_at_its_end(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, base: str
) -> None:
    monkeypatch.setenv(f"TOCSIN_{name.upper()}", value)
    assert getattr(load_settings().values, name) == base


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "x"])
def test_no_limit_is_negative_or_endless(value: str) -> None:
    model: Any = settings_model(LIMITS)
    for name in NUMBERS:
        with pytest.raises(ValidationError) as fault:
            model(**{name: value})
        assert [each["loc"] for each in fault.value.errors()] == [(name,)]


@pytest.mark.parametrize(
    "name",
    [
        "ingest_batch_max",
        "dispatch_poll_s",
        "store_readers",
        "store_scan_events_max",
        "server_connections_max",
        "dispatch_sending_max",
        "stream_page_data_events",
        "recovery_page_rows",
        "password_passes",
    ],
)
def test_what_nothing_goes_without_is_not_zero(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"TOCSIN_{name.upper()}", "0")
    assert faulty() == f"setting {name} (TOCSIN_{name.upper()}): must be above 0"


def test_a_lease_is_longer_than_any_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_DESTINATION_TIMEOUT_MAX_S", "90")
    assert "TOCSIN_DISPATCH_LEASE_MS" in faulty()
    monkeypatch.setenv("TOCSIN_DISPATCH_LEASE_MS", "93999")
    assert "at least 4 s longer than destination_timeout_max_s" in faulty()
    monkeypatch.setenv("TOCSIN_DISPATCH_LEASE_MS", "94000")
    load_settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"prot = 1\n", "prot is no setting; did you mean port?"),
        (b"[server]\nidle_s = 1\n", "server is no setting"),
        (b"port = \n", "is no TOML"),
        (b"\xff = 1\n", "is no TOML"),
        (b"port = 70000\n", "setting port"),
        (b'host = ""\n', "setting host"),
        (b'pushgo_token = ""\n', "setting pushgo_token"),
    ],
)
def test_a_faulty_file_is_told(text: bytes, said: str) -> None:
    Path("tocsin.toml").write_bytes(text)
    assert said in faulty()


def test_several_faults_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_PORT", "x")
    monkeypatch.setenv("TOCSIN_LOG_LEVEL", "x")
    said = faulty()
    assert "TOCSIN_PORT" in said
    assert "TOCSIN_LOG_LEVEL" in said


def test_networks_are_a_list() -> None:
    assert [str(each) for each in parse_networks(" 10.0.0.0/8, ::1/128 ,,127.0.0.1")] == [
        "10.0.0.0/8",
        "::1/128",
        "127.0.0.1/32",
    ]


def test_a_secret_is_not_shown_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_PUSHGO_TOKEN", "sesame")
    monkeypatch.setenv("TOCSIN_SECRET_KEY", "ab" * 32)
    monkeypatch.setenv("TOCSIN_SMTP_URL", "smtp://user%40example.com:sesame@mail.example.com")
    shown = repr(load_settings().values)
    assert "sesame" not in shown
    assert "abab" not in shown


def test_every_group_of_limits_is_frozen() -> None:
    for group in LIMITS.values():
        assert isinstance(group, msgspec.Struct)
        assert type(group).__struct_config__.frozen
