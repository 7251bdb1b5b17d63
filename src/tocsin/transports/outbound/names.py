"""Names and their addresses, looked up outside libcurl.

libcurl's own resolver would do for one tenant. For many it lacks three things: one name's slow server would hold
all of its 20 threads, so a name here has one look-up under way at most, and waits three seconds for it; it would
connect to the public half of an answer whose other half is private; and closing it waits for every look-up under
way (measured: 11.5 s with a resolver that takes 12).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import msgspec

from tocsin.core.delivery import ErrorClass
from tocsin.transports.addresses import AddressPolicy, Place, Resolve, is_local_name
from tocsin.transports.outbound.messages import Limits

Looked = tuple[str, ...] | Exception
Deliver = Callable[[str, Looked], None]

_NAMES_MAX = 4096


class Answer(msgspec.Struct, frozen=True):
    """A name's addresses, or why it has none.

    Attributes:
        until_s: until when the addresses may be used, on the sender's clock.
    """

    addresses: tuple[str, ...]
    until_s: float
    error_class: ErrorClass | None = None
    error: str | None = None


class Names:
    """What the sender's thread knows of names; used by that thread alone.

    Args:
        deliver: takes a look-up's result; called in the look-up's thread.
    """

    def __init__(self, policy: AddressPolicy, resolve: Resolve, limits: Limits, deliver: Deliver) -> None:
        self._policy = policy
        self._resolve = resolve
        self._limits = limits
        self._deliver = deliver
        self._known: dict[str, Answer] = {}
        self._under_way: set[str] = set()
        self._queue: deque[str] = deque()
        self._told: dict[str, Answer] = {}
        self._telling: dict[str, list[str]] = {}

    def fresh(self, host: str, now_s: float) -> Answer | None:
        """Return the host's answer while it may be used, or None."""
        answer = self._known.get(host)
        return answer if answer is not None and now_s < answer.until_s else None

    def ask(self, host: str) -> None:
        """Have a host looked up, unless that is under way already."""
        if host in self._under_way or host in self._queue:
            return
        if len(self._under_way) < self._limits.resolvers_max:
            self._start(host)
        else:
            self._queue.append(host)

    def learn(self, host: str, looked: Looked, now_s: float) -> Answer:
        """Return what the result of a host's look-up means, and remember it when it is of use.

        An answer with a forbidden address is refused whole: who serves it is not to be trusted with the rest. Only
        this machine's own names keep what is allowed, for they always have two addresses.
        """
        self._under_way.discard(host)
        if self._queue:
            self._start(self._queue.popleft())
        if isinstance(looked, Exception):
            known = isinstance(looked, (OSError, UnicodeError))
            kind = ErrorClass.DNS if known else ErrorClass.INTERNAL
            why = "does not resolve" if known else f"could not be looked up: {type(looked).__name__}"
            return Answer((), now_s, kind, f"the name {host} {why}")
        allowed = tuple(address for address in looked if self._policy.allows(address))
        if not looked:
            return Answer((), now_s, ErrorClass.DNS, f"the name {host} has no address")
        if not allowed or (len(allowed) < len(looked) and not is_local_name(host)):
            return Answer((), now_s, ErrorClass.ADDRESS_REFUSED, f"the name {host} leads to a private IP address")
        answer = Answer(allowed, now_s + self._limits.names_ttl_s)
        while len(self._known) >= _NAMES_MAX:
            del self._known[next(iter(self._known))]
        self._known[host] = answer
        return answer

    def to_tell(self, place: Place, answer: Answer) -> list[str] | None:
        """Return what libcurl's cache of names must be told before a transfer to this place, or None.

        The entries are those of CURLOPT_RESOLVE: they stand until replaced or taken back, so libcurl has no reason to
        look a name up by itself. If it did, the check of each socket would still hold.
        """
        key = f"{place.host}:{place.port}"
        if self._told.get(key) is answer:
            return self._telling.get(key)
        entries = []
        while len(self._told) >= _NAMES_MAX:
            oldest = next(iter(self._told))
            del self._told[oldest]
            entries.append(f"-{oldest}")
        self._told[key] = answer
        addresses = ",".join(f"[{address}]" if ":" in address else address for address in answer.addresses)
        self._telling[key] = [*entries, f"{key}:{addresses}"]
        return self._telling[key]

    def told(self) -> None:
        """Note that libcurl has begun every transfer that was to tell it something.

        Until then each further transfer to the same place has to tell it too, for libcurl begins them in an order of
        its own.
        """
        self._telling.clear()

    def forget(self) -> None:
        """Start over with a libcurl that knows no name."""
        self._told.clear()
        self._telling.clear()

    def _start(self, host: str) -> None:
        self._under_way.add(host)
        threading.Thread(target=self._look_up, args=(host,), name="tocsin-name", daemon=True).start()

    def _look_up(self, host: str) -> None:
        looked: Looked
        try:
            looked = self._resolve(host)
        except Exception as error:  # noqa: BLE001  whatever it is, the requests that wait for it must hear
            looked = error
        self._deliver(host, looked)
