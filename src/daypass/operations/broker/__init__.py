"""The access broker: requests, votes, grants and approval rules. A grant adds context keys; trust policies decide."""
