"""The record: written by `journal`, read by `read`, proved by `verify`.

This package imports nothing by itself: `daypass.audit.verify` runs where only the client is installed.
"""
