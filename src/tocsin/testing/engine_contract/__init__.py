"""The engine's contract as tests: every promise of ``engine/protocol.py``, concurrency included.

A test module of an engine inherits them and says how an engine is made::

    class TestMyEngine(EngineContract):
        @pytest.fixture
        def engine_factory(self, tmp_path: Path) -> EngineFactory:
            ...

Nothing here waits for a wall clock: time is a ``ManualClock`` that the tests move.
"""

# ruff: noqa: E402  the parts are imported once their assertions are sure to be rewritten

from __future__ import annotations

from pkgutil import iter_modules

import pytest

# Before they are imported, so that a failure shows both sides of its assertion.
pytest.register_assert_rewrite(*(f"{__name__}.{part.name}" for part in iter_modules(__path__)))

from tocsin.testing.engine_contract.accepting import (
    IdempotencyContract,
    QuotaContract,
    ReplayContract,
    StoringContract,
)
from tocsin.testing.engine_contract.catalog import CatalogChangesContract, CatalogContract
from tocsin.testing.engine_contract.claiming import ClaimContract, FairnessContract, LeaseContract, WaitContract
from tocsin.testing.engine_contract.consuming import TransactionContract
from tocsin.testing.engine_contract.history import LifeContract, TailContract, TendContract
from tocsin.testing.engine_contract.hurrying import HurryContract
from tocsin.testing.engine_contract.incidents import IncidentContract
from tocsin.testing.engine_contract.isolation import IsolationContract
from tocsin.testing.engine_contract.jobs import AuditContract, JobContract, UncountedContract
from tocsin.testing.engine_contract.lanes import LaneAmendmentContract, LaneChaosContract, LaneContract
from tocsin.testing.engine_contract.lifecycle import LifecycleContract
from tocsin.testing.engine_contract.mailboxes import DeviceContract, MailboxContract
from tocsin.testing.engine_contract.measuring import MeasureContract
from tocsin.testing.engine_contract.narrowing import (
    NarrowingContract,
    RareStatusContract,
    TextSearchContract,
)
from tocsin.testing.engine_contract.paging import PagingContract, PayloadsOfAPageContract
from tocsin.testing.engine_contract.posted import PostedContract
from tocsin.testing.engine_contract.searching import (
    DeliverySearchContract,
    EventSearchContract,
    OtherSearchContract,
)
from tocsin.testing.engine_contract.settling import AmendContract, SettleContract
from tocsin.testing.engine_contract.stage import PAGE_BYTES_MAX, RETENTION_MS, EngineFactory, Stage, scenario
from tocsin.testing.engine_contract.standing import StandingContract, TallyContract
from tocsin.testing.engine_contract.tailing import TailOfSomeContract
from tocsin.testing.engine_contract.texts import TextContract
from tocsin.testing.engine_contract.traces import TraceContract
from tocsin.testing.engine_contract.unstarted import UnstartedContract, UnstartedModelContract

__all__ = ["PAGE_BYTES_MAX", "RETENTION_MS", "EngineContract", "EngineFactory", "Stage", "scenario"]


class EngineContract(
    StoringContract,
    IdempotencyContract,
    QuotaContract,
    ReplayContract,
    IncidentContract,
    ClaimContract,
    FairnessContract,
    LeaseContract,
    WaitContract,
    SettleContract,
    AmendContract,
    LaneContract,
    LaneAmendmentContract,
    LaneChaosContract,
    PostedContract,
    LifecycleContract,
    TransactionContract,
    UnstartedContract,
    UnstartedModelContract,
    StandingContract,
    TallyContract,
    EventSearchContract,
    DeliverySearchContract,
    OtherSearchContract,
    NarrowingContract,
    TextSearchContract,
    RareStatusContract,
    PagingContract,
    PayloadsOfAPageContract,
    CatalogContract,
    CatalogChangesContract,
    HurryContract,
    JobContract,
    AuditContract,
    UncountedContract,
    DeviceContract,
    MailboxContract,
    TailContract,
    TailOfSomeContract,
    TendContract,
    LifeContract,
    IsolationContract,
    MeasureContract,
    TraceContract,
    TextContract,
):
    """All of it."""
