"""What PromptJang's bodies and answers are made of in tests."""

from __future__ import annotations

from tocsin.core.identifiers import DestinationId, EventId, OrganisationId

ENDPOINT = DestinationId(bytes(range(16)))
ENDPOINT_HEX = ENDPOINT.hex()
ORGANISATION = OrganisationId(b"o" * 16)
AT_MS = 1_779_796_800_123
AT = "2026-05-26T12:00:00Z"
EVENT = EventId(AT_MS.to_bytes(6, "big") + b"\x70" + bytes(9))
URL = "https://example.com/hook"
