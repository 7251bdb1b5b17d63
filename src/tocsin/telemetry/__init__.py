"""What an operator sees of a running gateway: metrics and traces. Their names are a contract (docs/telemetry.md)."""

from tocsin.telemetry.metrics import Metrics, StoreMetrics

__all__ = ["Metrics", "StoreMetrics"]
