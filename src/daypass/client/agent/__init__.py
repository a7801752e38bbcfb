"""The agent: one process that keeps the credentials of every local program valid.

It needs what the client needs, and `cryptography` for its sealed cache. It must never import anything of the server.
"""
