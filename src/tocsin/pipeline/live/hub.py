"""Who tells all streams of this process: it follows the history once for all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import msgspec
import structlog

from tocsin.core.clock import Clock
from tocsin.core.errors import RateLimited, TocsinError, Unavailable
from tocsin.core.identifiers import OrganisationId
from tocsin.core.stream import Backlog, StreamFilter, StreamKind, Told, beginning
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import Settlement, TailPage
from tocsin.pipeline.live.happening import Happening, Render, change_of
from tocsin.pipeline.live.need import Need, need_of
from tocsin.pipeline.live.positions import Positions
from tocsin.pipeline.live.stream import End, Stream
from tocsin.telemetry import Metrics

_log = structlog.get_logger("tocsin.stream")
_COME_AGAIN_S = 5.0
_PORTIONS = 8
"""So often at least readers get their turn while as much is told as one of them may have waiting."""


class StreamLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of live streams.

    Attributes:
        streams_max: open at once; above it 503.
        per_organisation_max: of these, of one organisation; above it 429.
        searching_max: of these, such that look for a text in the data; above it 429.
        backlog_messages_max, backlog_bytes_max: what waits for one reader; above it the stream ends.
        resume_events_max: how far back a reader may go on, in events of all organisations.
        page_events: read from the history at once.
        page_data_events: read at once for one who begins in the past and wants their data, or a text in them, up to
            a mebibyte each.
        changes_max: changes of deliveries that wait to be told; above it further ones are not.
        gather_s: between two looks into the history, so that many events are told together.
        poll_s: how often it is looked into when nothing hints at anything new.
        check_s: how often it is asked whether a reader may still listen.
        write_bytes: written at once, but for a single message that is longer.
        keep_alive_s: after so long without a message a comment is sent.
        retry_ms: after how long a reader whose connection broke is asked to come again.
        farewell_s: how long a stream that has ended may take to say so before its connection is cut.
    """

    streams_max: int = 256
    per_organisation_max: int = 32
    searching_max: int = 8
    backlog_messages_max: int = 10_000
    backlog_bytes_max: int = 4_194_304
    resume_events_max: int = 100_000
    page_events: int = 64
    page_data_events: int = 4
    changes_max: int = 10_000
    gather_s: float = 0.05
    poll_s: float = 1.0
    check_s: float = 0.25
    write_bytes: int = 65_536
    keep_alive_s: float = 15.0
    retry_ms: int = 3_000
    farewell_s: float = 2.0


_Group = tuple[StreamFilter, Render]
"""What streams have in common that are told the same."""

_NOBODY: dict[_Group, set[Stream]] = {}


class Live:
    """Tells streams of events, in the order of their commits and none left out, and of deliveries, as far as it can.

    A stream that begins in the past reads the history by itself, as fast as its reader takes it, until it has come to
    where all others are; then it joins them.
    """

    def __init__(
        self, *, engine: Engine, positions: Positions, clock: Clock, metrics: Metrics, limits: StreamLimits
    ) -> None:
        self._engine = engine
        self._positions = positions
        self._clock = clock
        self._metrics = metrics
        self.limits = limits
        self._streams: set[Stream] = set()
        self._open: Counter[OrganisationId] = Counter()
        self._joined: dict[OrganisationId, dict[_Group, set[Stream]]] = {}
        self._searching: Counter[OrganisationId] = Counter()
        self._need = Need()
        self._position = 0
        """All who joined have been told of everything up to here; of no meaning while nobody wants events."""
        self._changes: list[Settlement | Happening] = []
        self._anybody = asyncio.Event()
        self._stirred = asyncio.Event()

    # -- readers ----------------------------------------------------------------------------------------

    def parse_position(self, organisation_id: OrganisationId, text: str) -> int | None:
        """Return the position that a message of this organisation's streams named, or None."""
        return self._positions.parse(organisation_id, text)

    async def open(
        self, wanted: StreamFilter, *, after: int | None, render: Render, permitted: Callable[[], bool]
    ) -> Stream:
        """Begin to tell a reader; whoever calls this calls ``close`` in the end.

        Args:
            after: the position behind which it goes on; None begins now.
            render: how a happening is written; the same function for all who want it in the same way.
            permitted: returns whether the reader may still listen.

        Raises:
            RateLimited: ``too_many_streams``, of this organisation.
            Unavailable: ``streams_full``, or the store cannot be read.
        """
        self._admit(wanted)
        limits = self.limits
        backlog = Backlog(messages_max=limits.backlog_messages_max, bytes_max=limits.backlog_bytes_max)
        stream = Stream(self, backlog, wanted=wanted, render=render, permitted=permitted)
        self._streams.add(stream)
        self._count(wanted, 1)
        self._metrics.streams(len(self._streams))
        try:
            newest = oldest = (await self._engine.tail(None, 1)).cursor
            if after is not None and after < newest:
                oldest = (await self._engine.tail(None, 1, back=limits.resume_events_max)).cursor
        except BaseException:
            self.close(stream)
            raise
        stream.after, stream.gap = beginning(after, newest, oldest=oldest)
        stream.begins = stream.after
        if stream.after == newest or not wanted.wants_events:
            self._join(stream)
        self._anybody.set()
        return stream

    def close(self, stream: Stream) -> None:
        """Tell a reader nothing more. Idempotent."""
        if stream not in self._streams:
            return
        stream.end(End.READER_LEFT)
        self._streams.discard(stream)
        self._count(stream.wanted, -1)
        if stream.joined:
            self._leave(stream)
        if not self._streams:
            self._anybody.clear()
        self._metrics.streams(len(self._streams))

    def position_of(self, stream: Stream) -> int:
        """Return the position up to which a stream was told everything."""
        if stream.joined and stream.wanted.wants_events:
            return max(stream.after, self._position)
        return stream.after

    def shown(self, stream: Stream, position: int) -> str:
        """Return a position as the reader of a stream sees it."""
        return self._positions.shown(stream.wanted.organisation_id, position)

    def _admit(self, wanted: StreamFilter) -> None:
        most, searching_most = self.limits.per_organisation_max, self.limits.searching_max
        reason = None
        if self._open[wanted.organisation_id] >= most:
            reason = f"there are {most} streams of this organisation already"
        elif wanted.text is not None and self._searching[wanted.organisation_id] >= searching_most:
            reason = f"there are {searching_most} streams of this organisation already that look for a text"
        if reason is not None:
            raise RateLimited(reason, code="too_many_streams", retry_after_s=_COME_AGAIN_S)
        if len(self._streams) >= self.limits.streams_max:
            raise Unavailable("too many streams are open", code="streams_full", retry_after_s=_COME_AGAIN_S)

    def _count(self, wanted: StreamFilter, step: int) -> None:
        for counter in (self._open, self._searching) if wanted.text is not None else (self._open,):
            counter[wanted.organisation_id] += step
            if not counter[wanted.organisation_id]:
                del counter[wanted.organisation_id]

    def _join(self, stream: Stream) -> bool:
        """Tell a stream of what happens from now on; return False where all others are further than it is."""
        if stream.wanted.wants_events:
            if not self._need.organisations:
                self._position = stream.after
            elif stream.after < self._position:
                return False
        stream.joined = True
        groups = self._joined.setdefault(stream.wanted.organisation_id, {})
        groups.setdefault((stream.wanted, stream.render), set()).add(stream)
        self._need = self._needed()
        self._stirred.set()
        return True

    def _leave(self, stream: Stream) -> None:
        groups = self._joined[stream.wanted.organisation_id]
        group = groups[stream.wanted, stream.render]
        group.remove(stream)
        if not group:
            del groups[stream.wanted, stream.render]
        if not groups:
            del self._joined[stream.wanted.organisation_id]
        if not self._joined:
            self._changes = []
        self._need = self._needed()

    def _needed(self) -> Need:
        groups = (group for groups in self._joined.values() for group in groups)
        return need_of([each for each, _ in groups if each.wants_events])

    async def catch_up(self, stream: Stream, *, timeout_s: float) -> list[Told]:
        """Return what comes next for a stream that begins in the past; nothing once it has joined the others.

        Nothing, too, when so much time has passed: a filter may leave nearly nothing of a long history.
        """
        wanted = stream.wanted
        need = need_of([wanted])
        size = self.limits.page_data_events if wanted.reads_data else self.limits.page_events
        time_s = asyncio.get_running_loop().time
        until_s = time_s() + timeout_s
        while stream.ended is None:
            page = await self._page(stream.after, need, size)
            told: list[Told] = []
            room_bytes = self.limits.write_bytes
            for happening in _happenings(page):
                assert happening.position is not None
                stream.after = happening.position
                if happening.is_wanted(wanted):
                    told.append(self._told(stream, happening, happening.position))
                    room_bytes -= len(told[-1].text)
                    if room_bytes <= 0:
                        # What is left of the page is read again: a reader that rests must not hold it in memory.
                        return told
            stream.after = page.cursor
            if (not page.more and self._join(stream)) or told or time_s() >= until_s:
                return told
        return []

    def note_told(self, count: int) -> None:
        """Count messages that a reader took."""
        self._metrics.streamed(count)

    def note_ended(self, stream: Stream, why: End) -> None:
        """Count a stream that ended; one whose reader was too slow is logged too."""
        self._metrics.stream_ended(why)
        if why is End.SLOW_READER:
            _log.warning("stream_dropped", organisation=stream.wanted.organisation_id.hex())

    # -- what happens -----------------------------------------------------------------------------------

    def stored(self) -> None:
        """Note that events were stored: a hint, polling is the truth."""
        if self._joined:
            self._stirred.set()

    def settled(self, settlements: Sequence[Settlement], verdicts: Sequence[bool]) -> None:
        """Note what was recorded.

        Args:
            verdicts: the engine's, one for each settlement.
        """
        if not self._joined:
            return
        for settlement, counts in zip(settlements, verdicts, strict=True):
            if (
                counts
                and settlement.lease.event.organisation_id in self._joined
                and len(self._changes) < self.limits.changes_max
            ):
                self._changes.append(settlement)
        self._stirred.set()

    def found(self, changes: Sequence[Happening]) -> None:
        """Note changes of deliveries that other processes have made."""
        self._changes += changes[: self.limits.changes_max - len(self._changes)]
        self._stirred.set()

    def told_of_deliveries(self) -> dict[OrganisationId, bool]:
        """Return whose deliveries are told, and whether somebody looks at their events' data."""
        return {
            organisation_id: any(wanted.reads_data for wanted in filters)
            for organisation_id, groups in self._joined.items()
            if (filters := [wanted for wanted, _ in groups if StreamKind.DELIVERY in wanted.kinds])
        }

    # -- telling ----------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Tell whoever listens of what happens, for ever; rest while nobody does."""
        while True:
            await self._anybody.wait()
            self._stirred.clear()
            changes, self._changes = self._changes, []
            try:
                # Events first: what was recorded of a delivery was so after its event was stored.
                while await self._tell_events():
                    pass
            except TocsinError as error:
                _log.warning("stream_read_failed", error=error.detail)
                await asyncio.sleep(self.limits.poll_s)
            self._tell_changes(changes)
            await asyncio.sleep(self.limits.gather_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.limits.poll_s):
                    await self._stirred.wait()

    async def watch(self) -> None:
        """End the streams of those who may not listen any more, for ever."""
        while True:
            await self._anybody.wait()
            for stream in list(self._streams):
                if not stream.permitted():
                    stream.end(End.KEY_REVOKED)
            await asyncio.sleep(self.limits.check_s)

    async def _page(self, after: int, need: Need, limit: int) -> TailPage:
        return await self._engine.tail(
            after,
            limit,
            organisations=need.organisations,
            with_data=need.with_data,
            with_destinations=need.with_destinations,
        )

    async def _tell_events(self) -> bool:
        """Tell of one page of events; return whether there is more."""
        need = self._need
        if not need.organisations:
            return False
        start = self._position
        page = await self._page(start, need, self.limits.page_events)
        if start != self._position or not need.covers(self._need):
            # Somebody joined meanwhile for whom this page is not enough, or who begins elsewhere: it is read again.
            return True
        untold_bytes = portion_bytes = max(1, self.limits.backlog_bytes_max // _PORTIONS)
        for happening in _happenings(page):
            self._tell(happening)
            assert happening.position is not None
            self._position = reached = happening.position
            untold_bytes -= sum(len(told.text) for told in happening.told.values()) + happening.work_bytes
            if untold_bytes < 0:
                # Readers get their turn, or a page of long events would overwhelm the swiftest of them.
                await asyncio.sleep(0)
                untold_bytes = portion_bytes
                if self._position != reached or not need.covers(self._need):
                    return True
        self._position = page.cursor
        return page.more

    def _tell_changes(self, changes: Sequence[Settlement | Happening]) -> None:
        now_ms = self._clock.now_ms()
        for each in changes:
            happening = each if isinstance(each, Happening) else change_of(each, now_ms=now_ms)
            if happening is not None:
                self._tell(happening)

    def _tell(self, happening: Happening) -> None:
        """Tell all who want it and have not been told of it."""
        for (wanted, _), streams in self._joined.get(happening.event.organisation_id, _NOBODY).items():
            if happening.is_wanted(wanted):
                for stream in streams:
                    self._tell_one(stream, happening)

    def _tell_one(self, stream: Stream, happening: Happening) -> None:
        position = happening.position
        if position is None:
            # Whatever waits for the reader comes before this, so it has everything up to there then.
            position = self.position_of(stream)
        elif position <= stream.after:
            return
        try:
            stream.offer(self._told(stream, happening, position))
        except Exception as fault:  # noqa: BLE001  a fault of ours in one message must not stop all streams
            _log.error("stream_message_broke", event_id=happening.event.id.hex(), exc_info=fault)
            stream.end(End.BROKEN)

    def _told(self, stream: Stream, happening: Happening, position: int) -> Told:
        told = happening.told.get((stream.render, position))
        if told is None:
            told = Told(stream.render(happening, self.shown(stream, position)), position)
            happening.told[stream.render, position] = told
        return told


def _happenings(page: TailPage) -> Iterator[Happening]:
    """Return what the events of a page are."""
    destinations = page.destinations or [frozenset()] * len(page.events)
    for position, event, where in zip(page.positions, page.events, destinations, strict=True):
        yield Happening(event, destinations=where, position=position)
