"""Game days: a deployment of its own is broken on purpose, and it is measured how it is found and repaired.

The server does not import this package. Only processes that were started here are ever signalled.
"""
