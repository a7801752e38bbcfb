"""The composition root: the only place where adapters are built and handed to the operations.

`process.py` reads settings, prepares the database and runs worker processes; `runtime.py` is what each of them holds.
"""

from daypass.server.process import serve

__all__ = ["serve"]
