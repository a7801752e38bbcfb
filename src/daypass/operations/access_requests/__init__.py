"""The access broker: requests, votes and approval rules. A grant adds context keys; trust policies decide."""
