"""The storage layer: schema, transactions, the change feed and the cached directory.

All of it is synchronous and runs on threads (docs/adr/0002). Domain, wire and operations must never import it; they use
only the protocols of `daypass.ports`.
"""
