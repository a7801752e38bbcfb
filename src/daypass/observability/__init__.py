"""Logs and metrics. Neither ever holds a secret; labels stay low in cardinality (ids go to logs)."""
