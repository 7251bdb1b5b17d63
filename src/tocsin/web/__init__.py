"""What every route shares: requests and answers, keys, limits, errors."""
