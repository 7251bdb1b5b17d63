"""Every state machine as a table; the diagrams of docs/lifecycle.md are drawn from here."""

from __future__ import annotations

from typing import TypeVar

from tocsin.core.delivery import DeliveryState
from tocsin.core.incident import IncidentState
from tocsin.core.job import JobState
from tocsin.core.transaction import TransactionState

S = TypeVar("S")

Machine = dict[tuple[S | None, str], S]
"""What leads where: (state, trigger) to the next state; None is "not there yet"."""

DELIVERY: Machine[DeliveryState] = {
    (None, "accepted"): DeliveryState.READY,
    (None, "accepted, sent at once"): DeliveryState.LEASED,
    (None, "accepted behind its lane"): DeliveryState.BLOCKED,
    (DeliveryState.BLOCKED, "lane is free"): DeliveryState.READY,
    (DeliveryState.READY, "claimed"): DeliveryState.LEASED,
    (DeliveryState.LEASED, "lease ran out, claimed"): DeliveryState.LEASED,
    (DeliveryState.LEASED, "released"): DeliveryState.READY,
    (DeliveryState.LEASED, "failed, to be retried"): DeliveryState.READY,
    (DeliveryState.LEASED, "delivered"): DeliveryState.DELIVERED,
    (DeliveryState.LEASED, "given up"): DeliveryState.EXPIRED,
    (DeliveryState.READY, "cancelled"): DeliveryState.CANCELLED,
    (DeliveryState.BLOCKED, "cancelled"): DeliveryState.CANCELLED,
    (DeliveryState.LEASED, "cancelled"): DeliveryState.CANCELLED,
    (DeliveryState.EXPIRED, "retried by hand"): DeliveryState.READY,
    (DeliveryState.CANCELLED, "retried by hand"): DeliveryState.READY,
    (DeliveryState.DELIVERED, "retried by hand"): DeliveryState.READY,
    (DeliveryState.EXPIRED, "retried by hand into a busy lane"): DeliveryState.BLOCKED,
    (DeliveryState.CANCELLED, "retried by hand into a busy lane"): DeliveryState.BLOCKED,
    (DeliveryState.DELIVERED, "retried by hand into a busy lane"): DeliveryState.BLOCKED,
}

INCIDENT: Machine[IncidentState] = {
    (None, "create"): IncidentState.ONGOING,
    (IncidentState.ONGOING, "update"): IncidentState.ONGOING,
    (IncidentState.ONGOING, "close"): IncidentState.CLOSED,
    (IncidentState.CLOSED, "late update"): IncidentState.CLOSED,
}

TRANSACTION: Machine[TransactionState] = {
    (None, "init"): TransactionState.PROCESSING,
    (TransactionState.PROCESSING, "lease ran out, init"): TransactionState.PROCESSING,
    (TransactionState.PROCESSING, "transact finished"): TransactionState.FINISHED,
    (TransactionState.PROCESSING, "transact failed"): TransactionState.FAILED,
    (TransactionState.PROCESSING, "update finished"): TransactionState.FINISHED,
    (TransactionState.PROCESSING, "update failed"): TransactionState.FAILED,
    (TransactionState.FINISHED, "update processing"): TransactionState.PROCESSING,
    (TransactionState.FINISHED, "update failed"): TransactionState.FAILED,
    (TransactionState.FAILED, "update processing"): TransactionState.PROCESSING,
    (TransactionState.FAILED, "update finished"): TransactionState.FINISHED,
}

JOB: Machine[JobState] = {
    (None, "asked for"): JobState.QUEUED,
    (JobState.QUEUED, "begin"): JobState.RUNNING,
    (JobState.RUNNING, "begin"): JobState.RUNNING,
    (JobState.RUNNING, "take a batch"): JobState.RUNNING,
    (JobState.RUNNING, "count a batch"): JobState.RUNNING,
    (JobState.CANCELLED, "count a batch"): JobState.CANCELLED,
    (JobState.RUNNING, "finish"): JobState.FINISHED,
    (JobState.RUNNING, "fail"): JobState.FAILED,
    (JobState.CANCELLED, "fail"): JobState.CANCELLED,
    (JobState.QUEUED, "cancel"): JobState.CANCELLED,
    (JobState.RUNNING, "cancel"): JobState.CANCELLED,
}

MACHINES = {"delivery": DELIVERY, "incident": INCIDENT, "transaction": TRANSACTION, "job": JOB}
