"""The one guarded HTTP client by which Tocsin reaches addresses that others chose."""

from tocsin.transports.outbound.client import Client
from tocsin.transports.outbound.messages import BODY_KEPT_BYTES, USER_AGENT, Limits, Replied, Reply, Request, Sends
from tocsin.transports.outbound.process import ProcessClient

__all__ = [
    "BODY_KEPT_BYTES",
    "USER_AGENT",
    "Client",
    "Limits",
    "ProcessClient",
    "Replied",
    "Reply",
    "Request",
    "Sends",
]
