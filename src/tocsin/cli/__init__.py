"""The command line: parses arguments, then calls the composition root or the HTTP API."""
