"""What every command of a client has: the HTTP API, profiles, the form of the output."""
