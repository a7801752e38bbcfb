"""Reading the audit record."""
