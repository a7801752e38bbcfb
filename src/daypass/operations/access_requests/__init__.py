"""Access requests, votes, approval rules and reviews. A grant adds context keys; trust policies decide."""
