"""One mail server: what its URL says, connections to it, and what its answers mean."""
