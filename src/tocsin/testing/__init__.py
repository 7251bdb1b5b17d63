"""Shipped for authors of engines and transports: what holds their work to the protocols. The product never imports it."""
