"""Which addresses and URLs may be reached."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from private_hosts import LOCAL_NAMES, LOOPBACK_V4, NO_HOSTS, PRIVATE_HOSTS
from tocsin.transports.addresses import AddressPolicy, Place, UrlChecks, UrlFault, parse_url, system_resolve

PUBLIC = AddressPolicy()

EVERYTHING = AddressPolicy((ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")))
PUBLIC_ADDRESSES = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.32.0.1",
    "192.0.1.1",
    "168.63.129.17",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]
IPV4 = st.ip_addresses(v=4)
IPV6 = st.ip_addresses(v=6)


def fault_of(policy: AddressPolicy, url: str) -> UrlFault | None:
    """Return why a URL may not be used, or None."""
    found = policy.check(url)
    return found if isinstance(found, UrlFault) else None


def embedded(address: ipaddress.IPv4Address, prefix: str) -> str:
    return str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(address)))


def test_there_are_at_least_sixty_private_hosts_to_try() -> None:
    assert len(set(PRIVATE_HOSTS)) == len(PRIVATE_HOSTS) >= 60


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
def test_a_private_host_is_refused_in_every_notation(host: str) -> None:
    for url in (f"http://{host}/", f"https://{host}:8443/a?b#c", f"HTTP://{host}"):
        assert fault_of(PUBLIC, url) is UrlFault.PRIVATE
    assert f"URL is not allowed: {fault_of(PUBLIC, f'http://{host}/')}" == "URL is not allowed: private IP address"


@pytest.mark.parametrize("host", NO_HOSTS)
def test_what_is_no_host_is_refused(host: str) -> None:
    assert fault_of(PUBLIC, f"http://{host}/") in (UrlFault.HOST, UrlFault.CHARACTER)
    assert fault_of(EVERYTHING, f"http://{host}/") is not None


@pytest.mark.parametrize("host", LOOPBACK_V4)
def test_a_numeric_host_means_what_the_resolver_takes_it_for(host: str) -> None:
    place = parse_url(f"http://{host}/")
    assert isinstance(place, Place)
    assert place.literal in system_resolve(host.removesuffix("."))


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_a_public_address_is_allowed(address: str) -> None:
    assert PUBLIC.allows(address)
    assert fault_of(PUBLIC, f"https://{f'[{address}]' if ':' in address else address}/") is None


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "nonsense", "\0", "1.2.3.4/8"])
def test_what_is_no_address_is_not_allowed(text: str) -> None:
    assert not EVERYTHING.allows(text)


@given(IPV4)
def test_an_embedded_ipv4_address_is_judged_like_itself(address: ipaddress.IPv4Address) -> None:
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        assert PUBLIC.allows(embedded(address, prefix)) is PUBLIC.allows(str(address))


@given(
    st.one_of(
        *(st.ip_addresses(network=n) for n in ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16"))
    )
)
def test_a_private_ipv4_address_is_refused_however_it_is_embedded(address: ipaddress.IPv4Address) -> None:
    for prefix in (
        "::ffff:0:0",
        "64:ff9b::",
        "::",
        "::ffff:0:0:0",
        "::5efe:0:0",
        "2001:470::5efe:0:0",
        "64:ff9b:1::",
    ):
        assert not PUBLIC.allows(embedded(address, prefix))
    assert not PUBLIC.allows(str(ipaddress.IPv6Address((0x2002 << 112) | (int(address) << 80) | 1)))


@given(st.one_of(IPV4, IPV6))
@example(ipaddress.IPv6Address("fec0::1"))
def test_nothing_is_allowed_that_python_knows_not_to_be_global(address: ipaddress.IPv4Address) -> None:
    if PUBLIC.allows(str(address)) and not isinstance(getattr(address, "ipv4_mapped", None), ipaddress.IPv4Address):
        assert address.is_global
        assert not address.is_multicast


@given(st.text(max_size=60))
def test_any_text_is_judged_without_an_exception(text: str) -> None:
    for url in (text, f"http://{text}", f"http://{text}/", f"http://[{text}]/", f"http://a:{text}/"):
        found = PUBLIC.check(url)
        assert isinstance(found, UrlFault) or (found.url.isascii() and "@" not in found.host)


def test_the_allow_list_opens_what_it_names_and_no_more() -> None:
    policy = AddressPolicy((ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8")))
    allowed = ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "fd12::1", "8.8.8.8")
    refused = ("10.2.0.1", "127.0.0.1", "::1", "fc00::1", "2002:a01:203::1", "::10.1.2.3")
    assert [address for address in (*allowed, *refused) if policy.allows(address)] == list(allowed)
    assert fault_of(policy, "http://10.1.2.3:8080/") is None


@pytest.mark.parametrize("network", ["127.0.0.0/8", "::1/128"])
@pytest.mark.parametrize("name", LOCAL_NAMES)
def test_a_name_of_this_machine_is_private_unless_loopback_is_allowed(name: str, network: str) -> None:
    assert fault_of(PUBLIC, f"http://{name}/") is UrlFault.PRIVATE
    assert fault_of(AddressPolicy((ipaddress.ip_network(network),)), f"http://{name}/") is None


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("", UrlFault.SCHEME),
        ("example.com", UrlFault.SCHEME),
        ("//example.com/", UrlFault.SCHEME),
        ("ftp://example.com/", UrlFault.SCHEME),
        ("file:///etc/passwd", UrlFault.SCHEME),
        ("gopher://example.com:25/_x", UrlFault.SCHEME),
        ("javascript:alert(1)", UrlFault.SCHEME),
        ("http:example.com", UrlFault.SCHEME),
        ("http:/example.com", UrlFault.SCHEME),
        ("http://", UrlFault.HOST),
        ("http:///path", UrlFault.HOST),
        ("http://?x", UrlFault.HOST),
        ("http://:80/", UrlFault.HOST),
        ("http://user@example.com/", UrlFault.USERINFO),
        ("http://user:secret@example.com/", UrlFault.USERINFO),
        ("http://example.com@127.0.0.1/", UrlFault.USERINFO),
        ("http://@example.com/", UrlFault.USERINFO),
        ("http://example.com\\@127.0.0.1/", UrlFault.CHARACTER),
        ("http://example.com/ x", UrlFault.CHARACTER),
        (" http://example.com/", UrlFault.CHARACTER),
        ("http://example.com/\r\nHost: x", UrlFault.CHARACTER),
        ("http://exam\tple.com/", UrlFault.CHARACTER),
        ("http://example.com/\0", UrlFault.CHARACTER),
        ("http://example.com/\ud800", UrlFault.CHARACTER),
        ("http://example.com/\u2028", UrlFault.CHARACTER),
        ("http://example.com/\x7f", UrlFault.CHARACTER),
        ("http://example.com:0/", UrlFault.PORT),
        ("http://example.com:65536/", UrlFault.PORT),
        ("http://example.com:-1/", UrlFault.PORT),
        ("http://example.com:+80/", UrlFault.PORT),
        ("http://example.com:8_0/", UrlFault.PORT),
        ("http://example.com:\u0663/", UrlFault.PORT),
        ("http://example.com:" + "1" * 1000 + "/", UrlFault.PORT),
        ("http://example.com:80:80/", UrlFault.HOST),
        ("http://example.com/" + "x" * 2048, UrlFault.LENGTH),
    ],
)
def test_a_url_of_the_wrong_form_is_refused_with_its_reason(url: str, fault: UrlFault) -> None:
    assert fault_of(PUBLIC, url) is fault


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://example.com", Place("http://example.com", "http", "example.com", 80, None)),
        (
            "HTTPS://EXAMPLE.com:8443/Path?Q=1#f",
            Place("https://example.com:8443/Path?Q=1", "https", "example.com", 8443, None),
        ),
        ("http://a_b.example.:/", Place("http://a_b.example./", "http", "a_b.example.", 80, None)),
        (
            "https://b\u00fccher.example/\u00e4?q=\u00fc",
            Place("https://xn--bcher-kva.example/%C3%A4?q=%C3%BC", "https", "xn--bcher-kva.example", 443, None),
        ),
        ("http://[2606:4700::1]:81/", Place("http://[2606:4700::1]:81/", "http", "2606:4700::1", 81, "2606:4700::1")),
        ("http://0x08.8.2056/", Place("http://8.8.8.8/", "http", "8.8.8.8", 80, "8.8.8.8")),
        ("http://xn--9.example/", Place("http://xn--9.example/", "http", "xn--9.example", 80, None)),
    ],
)
def test_a_sound_url_is_taken_apart(url: str, place: Place) -> None:
    assert PUBLIC.check(url) == place
    assert PUBLIC.check(place.url) == place


@pytest.mark.parametrize("host", ["stra\xdfe.example", "\u03b2\u03cc\u03bb\u03bf\u03c2.example", "a\u200db.example"])
def test_a_name_of_which_older_rules_make_another_domain_is_refused(host: str) -> None:
    assert isinstance(parse_url(f"https://{host}/"), UrlFault)
    assert isinstance(parse_url(f"https://{host.encode('idna').decode()}/"), Place)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (("93.184.216.34",), None),
        (("93.184.216.34", "2606:4700::1"), None),
        (("93.184.216.34", "10.0.0.1"), UrlFault.PRIVATE),
        (("::1",), UrlFault.PRIVATE),
        (("fe80::1%eth0",), UrlFault.PRIVATE),
        ((), None),
    ],
)
def test_a_name_is_refused_when_any_of_its_addresses_is(answer: tuple[str, ...], fault: UrlFault | None) -> None:
    checks = UrlChecks(PUBLIC, lambda _: answer)
    assert asyncio.run(checks.resolved_fault("https://a.test/")) is fault


def test_a_name_that_does_not_resolve_is_accepted() -> None:
    def fail(_: str) -> tuple[str, ...]:
        raise OSError

    assert asyncio.run(UrlChecks(PUBLIC, fail).resolved_fault("https://a.test/")) is None


def test_a_url_that_needs_no_resolving_is_not_resolved() -> None:
    def fail(_: str) -> tuple[str, ...]:
        raise AssertionError

    checks = UrlChecks(PUBLIC, fail)
    assert asyncio.run(checks.resolved_fault("http://127.1/")) is UrlFault.PRIVATE
    assert asyncio.run(checks.resolved_fault("http://localhost/")) is UrlFault.PRIVATE
    assert asyncio.run(checks.resolved_fault("http://8.8.8.8/")) is None
    assert asyncio.run(checks.resolved_fault("nonsense")) is UrlFault.SCHEME


def test_a_name_that_resolves_slowly_is_accepted_after_the_budget() -> None:
    released = threading.Event()

    def slow(_: str) -> tuple[str, ...]:
        released.wait()
        return ("10.0.0.1",)

    async def main() -> None:
        checks = UrlChecks(PUBLIC, slow)
        began = time.monotonic()
        many = [checks.resolved_fault(f"https://{n}.test/", budget_s=0.2) for n in range(50)]
        assert await asyncio.gather(*many) == [None] * 50
        assert time.monotonic() - began < 1.0
        assert sum(thread.name == "tocsin-url" for thread in threading.enumerate()) == 8

    try:
        asyncio.run(main())
    finally:
        released.set()
    for thread in threading.enumerate():
        if thread.name == "tocsin-url":
            thread.join(5.0)
