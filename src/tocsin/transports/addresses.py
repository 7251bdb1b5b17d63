"""Which addresses and URLs Tocsin may reach on a tenant's behalf.

A destination's URL is chosen by whoever may make destinations, and the request comes from inside the operator's
network; so every address that is not plainly public is refused, in every notation that a resolver would accept.

Sources: IANA's IPv4 and IPv6 special-purpose address registries; RFC 6052 (NAT64), RFC 5214 (ISATAP), RFC 6761
(localhost); for 168.63.129.16 Microsoft's description of Azure's platform address.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import msgspec

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str], tuple[str, ...]]
"""Returns a name's addresses; blocks; raises OSError or UnicodeError when there are none."""

URL_LENGTH_MAX = 2048
"""Characters; what every proxy and server on the way can be expected to take."""
AMBIGUOUS_IN_HOSTS = frozenset("\xdf\u1e9e\u03c2\u200c\u200d")
"""Sharp s, final sigma and the joiners: IDNA 2003, which Python's codec writes, makes another domain of them than
IDNA 2008 (RFC 5894, section 7.2), and what is sent could go to a stranger. The ``xn--`` form of a host is clear."""
HOST_LENGTH_MAX = 253
RESOLVE_BUDGET_S = 3.0
_CHECKS_AT_ONCE = 8
_CACHED = 4096

_REFUSED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; also Tailscale and Alibaba's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's platform
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments, and Oracle's metadata
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
"""All that IANA has given out as global unicast. What lies outside is refused unseen: loopback and the other
embeddings of ::/8, 5f00::/16, unique local, link-local, site-local, multicast, and what is not assigned."""
_REFUSED_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, among them Teredo and ORCHID
        "2001:db8::/32",
        "2002::/16",  # 6to4: holds an IPv4 address of anyone's choice
        "3fff::/20",
    )
)
ANYWHERE: tuple[Network, ...] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
"""Allows every address: only for a client whose URLs the operator chooses, never a tenant."""
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""Bits 64 to 95 of an address that tunnels to the IPv4 address in its last 32."""

_LOCAL_NAME = "localhost"
_AUTHORITY = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%[0-9A-Za-z%._~-]+)?)\]|(?P<host>[^\[\]:]+))(?::(?P<port>[^:\[\]]*))?"
)
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>[^#]*)")
_HOST = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")
_PORTS = {"http": 80, "https": 443}


class UrlFault(StrEnum):
    """Why a URL is refused; the values are stable and may be shown behind ``URL is not allowed: ``."""

    LENGTH = "longer than 2048 characters"
    CHARACTER = "white space, control character or backslash"
    SCHEME = "neither http nor https"
    HOST = "no valid host"
    USERINFO = "user name or password"
    PORT = "port out of range"
    PRIVATE = "private IP address"


class Place(msgspec.Struct, frozen=True):
    """Where a URL leads.

    Attributes:
        url: the URL in ASCII, without a fragment; what is sent.
        scheme: ``http`` or ``https``.
        host: lower case, ASCII, no brackets; a trailing dot stays.
        port: 1 to 65535.
        literal: the address that the host spells out; None for a name.
    """

    url: str
    scheme: str
    host: str
    port: int
    literal: str | None


def is_local_name(host: str) -> bool:
    """Return whether a host, in lower case, is a name of this machine itself (RFC 6761, section 6.3)."""
    bare = host.removesuffix(".")
    return bare == _LOCAL_NAME or bare.endswith("." + _LOCAL_NAME)


def _unwrapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv4-mapped or NAT64 address leads to; any other address as it is."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    if address not in _GLOBAL_V6 or (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:
        return False
    return not any(address in network for network in _REFUSED_V6)


class AddressPolicy:
    """Decides which addresses may be reached; safe to use from several threads.

    Args:
        allow: networks that may be reached although they are not public, by the operator's decision. An address
            that embeds an IPv4 address is looked up here by that one.
    """

    def __init__(self, allow: tuple[Network, ...] = ()) -> None:
        self.allow = allow
        self._decided = lru_cache(maxsize=_CACHED)(self._decide)
        self._checked = lru_cache(maxsize=_CACHED)(self._check)

    def allows(self, address: str) -> bool:
        """Return whether this address, written as ``getaddrinfo`` writes it, may be reached."""
        return self._decided(address)

    def check(self, url: str) -> Place | UrlFault:
        """Return where a URL leads, or why it may not be used. A name is not resolved: see ``resolved_fault``."""
        return self._checked(url)

    def _decide(self, address: str) -> bool:
        try:
            found = _unwrapped(ip_address(address.partition("%")[0]))
        except ValueError:
            return False
        return _is_public(found) or any(found in network for network in self.allow)

    def _check(self, url: str) -> Place | UrlFault:
        place = parse_url(url)
        if isinstance(place, UrlFault):
            return place
        if place.literal is not None:
            return place if self.allows(place.literal) else UrlFault.PRIVATE
        if is_local_name(place.host) and not (self.allows("127.0.0.1") or self.allows("::1")):
            return UrlFault.PRIVATE
        return place


def parse_url(url: str) -> Place | UrlFault:
    """Return where an http or https URL leads, or what is wrong with its form.

    A host in another script becomes its IDNA form (RFC 3490, as the ``idna`` codec writes it); that also turns
    fullwidth digits and ideographic full stops into the address that a resolver would make of them.
    """
    if len(url) > URL_LENGTH_MAX:
        return UrlFault.LENGTH
    if "\\" in url or " " in url or not url.isprintable():
        return UrlFault.CHARACTER
    parts = _URL.match(url)
    if parts is None or parts["scheme"].lower() not in _PORTS:
        return UrlFault.SCHEME
    scheme = parts["scheme"].lower()
    if "@" in parts["authority"]:
        return UrlFault.USERINFO
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if authority is None:
        return UrlFault.HOST
    port = _port(authority["port"] or str(_PORTS[scheme]))
    if port is None:
        return UrlFault.PORT
    host, literal = _host(authority["six"], authority["host"])
    if host is None:
        return UrlFault.HOST
    written = (f"[{host}]" if authority["six"] else host) + (f":{port}" if authority["port"] else "")
    return Place(f"{scheme}://{written}{_ascii_path(parts['rest'])}", scheme, host, port, literal)


def _port(text: str) -> int | None:
    if not text.isascii() or not text.isdecimal() or len(text) > len("65535"):
        return None
    port = int(text)
    return port if 1 <= port <= 65535 else None


def _host(six: str | None, name: str) -> tuple[str | None, str | None]:
    """Return a host as it is to be written, and the address that it spells out; None for a host that is neither.

    An IPv4 address is read in any of ``inet_aton``'s notations, and written in the usual one. A host that ends in a
    number but is no address is no name either (WHATWG URL, "ends in a number").
    """
    try:
        if six is not None:
            return six.lower(), str(IPv6Address(six.partition("%")[0]))
        if not AMBIGUOUS_IN_HOSTS.isdisjoint(name):
            return None, None
        host = (name if name.isascii() else name.encode("idna").decode("ascii")).lower()
        if len(host) > HOST_LENGTH_MAX or _HOST.fullmatch(host) is None:
            return None, None
        if _ENDS_IN_NUMBER.fullmatch(host) is None:
            return host, None
        literal = socket.inet_ntoa(socket.inet_aton(host.removesuffix(".")))
        return literal, literal
    except (ValueError, OSError):
        return None, None


def _ascii_path(rest: str) -> str:
    if rest.isascii():
        return rest
    return "".join(c if c.isascii() else "".join(f"%{byte:02X}" for byte in c.encode()) for c in rest)


def system_resolve(host: str) -> tuple[str, ...]:
    """Return a name's addresses as the operating system gives them, in its order of preference."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


class UrlChecks:
    """Checks URLs whose names are to be resolved, when a destination is configured.

    The resolver blocks and cannot be cancelled, so it runs in a thread of its own that nobody waits for at exit. At
    most eight run at once; a name beyond them is accepted unseen, since what connects checks again in any case.

    Args:
        policy: what may be reached.
        resolve: the resolver.
    """

    def __init__(self, policy: AddressPolicy, resolve: Resolve = system_resolve) -> None:
        self._policy = policy
        self._resolve = resolve
        self._room = threading.BoundedSemaphore(_CHECKS_AT_ONCE)

    async def resolved_fault(self, url: str, *, budget_s: float = RESOLVE_BUDGET_S) -> UrlFault | None:
        """Return why a URL may not be used, or None.

        A name is refused when any of its addresses is. A name that does not resolve within ``budget_s``, or at all,
        is accepted, since it may do so later.
        """
        place = self._policy.check(url)
        if isinstance(place, UrlFault):
            return place
        if place.literal is not None or is_local_name(place.host) or not self._room.acquire(blocking=False):
            return None
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[str, ...]] = loop.create_future()
        arguments = (place.host, loop, answer)
        threading.Thread(target=self._look_up, args=arguments, name="tocsin-url", daemon=True).start()
        try:
            addresses = await asyncio.wait_for(answer, budget_s)
        except TimeoutError:
            return None
        return None if all(self._policy.allows(address) for address in addresses) else UrlFault.PRIVATE

    def _look_up(self, host: str, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[tuple[str, ...]]) -> None:
        try:
            addresses = self._resolve(host)
        except (OSError, UnicodeError):
            addresses = ()
        finally:
            self._room.release()
        try:
            loop.call_soon_threadsafe(_answer, answer, addresses)
        except RuntimeError:
            return  # the loop was closed meanwhile, so nobody asks any more


def _answer(future: asyncio.Future[tuple[str, ...]], addresses: tuple[str, ...]) -> None:
    if not future.done():
        future.set_result(addresses)
