"""Commands that run a gateway or look after its data."""
