"""Places shared by all lanes: some stay free, whoever asks for them."""

from __future__ import annotations

import pytest

from tocsin.core.identifiers import DestinationId
from tocsin.pipeline.lane import Lane, LaneLimits
from tocsin.pipeline.room import Room


def lanes(count: int) -> list[Lane]:
    return [Lane(LaneLimits()) for _ in range(count)]


def greedy(room: Room, wanting: list[Lane]) -> None:
    """Let lanes send in turns as long as any of them may."""
    going = True
    while going:
        going = False
        for lane in wanting:
            if room.may_send(lane):
                lane.sending += 1
                room.sending += 1
                going = True


@pytest.mark.parametrize(("count", "each", "free"), [(1, 50, 50), (3, 25, 25), (9, 10, 10), (99, 1, 1), (500, 1, 0)])
def test_however_many_are_greedy_they_share_alike_and_the_next_finds_a_place(
    count: int, each: int, free: int
) -> None:
    room, wanting = Room(held_max=100, sending_max=100), lanes(count)
    greedy(room, wanting)
    assert max(lane.sending for lane in wanting) == each
    assert 100 - room.sending == free
    assert room.may_send(Lane(LaneLimits())) is (free > 0)


def test_places_are_used_again_as_they_become_free() -> None:
    room, wanting = Room(held_max=100, sending_max=100), lanes(3)
    greedy(room, wanting)
    wanting[0].sending -= 25
    room.sending -= 25
    greedy(room, wanting[1:])
    assert [lane.sending for lane in wanting] == [0, 34, 33]


def test_a_claim_leaves_half_of_the_room_and_takes_the_last_place() -> None:
    room = Room(held_max=100, sending_max=100)
    claims = []
    while most := room.claimable(30):
        claims.append(most)
        room.held += most
    assert claims == [30, 30, 20, 10, 5, 2, 1, 1, 1]
    assert room.held == 100


def test_that_there_is_room_again_is_told_once_and_only_to_those_who_asked() -> None:
    room = Room(held_max=32, sending_max=32)
    room.held = 32
    assert not room.eased()
    assert room.claimable(10) == 0
    room.held = 31
    assert not room.eased(), "not for each single place"
    room.held = 30
    assert room.eased()
    assert not room.eased()
    room.held = 32
    assert not room.may_hold(Lane(LaneLimits()))
    room.held = 0
    assert room.eased()


def test_who_waits_longest_comes_first_and_asking_again_loses_no_turn() -> None:
    room = Room(held_max=1, sending_max=1)
    first, second = DestinationId(b"1" * 16), DestinationId(b"2" * 16)
    for each in (first, second, first):
        room.queue_up(each)
    assert [room.next_waiting(), room.next_waiting()] == [first, second]
    assert room.waiting == 0
