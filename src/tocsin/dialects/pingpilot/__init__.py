"""PingPilot: a categorised event, told to people on Discord, Telegram and by email."""

from tocsin.dialects.pingpilot.routes import FirstAttempts, PingPilot, PingPilotLimits

__all__ = ["FirstAttempts", "PingPilot", "PingPilotLimits"]
