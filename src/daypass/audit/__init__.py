"""The audit record. `journal` writes it, `read` reads it and `verify` verifies it.

This package imports nothing, because `daypass.audit.verify` must run where only the client is installed.
"""
