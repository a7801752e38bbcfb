"""Where everything is kept: schema, transactions, the change feed and the cached directory.

All of it is synchronous and runs on threads (docs/adr/0002). It must never be reached from domain, wire or operations:
they know the protocols of `daypass.ports` alone.
"""
