"""Commands that change what the gateway knows."""
