"""Daypass: a self-hosted assume-role service.

Importing this package does no work and pulls in nothing: the client, the command line and the server each
import what they need.
"""

__version__ = "0.1.0"
