"""Commands that need no gateway, or only ask it who one is."""
