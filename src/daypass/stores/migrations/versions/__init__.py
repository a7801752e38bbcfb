"""Schema revisions, oldest first by name. A released one never changes."""
