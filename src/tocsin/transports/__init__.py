"""Ways out: each makes exactly one attempt, never a retry."""
