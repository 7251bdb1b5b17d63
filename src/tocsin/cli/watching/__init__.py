"""Commands that show what happens and what happened, and send it again."""
