"""Benches: each is a command, and states figures of one run."""
