"""Shipped for authors of engines and transports: what holds their work to the protocols.

The product itself never imports it.
"""
