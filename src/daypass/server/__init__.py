"""The composition root: the only place where adapters are built and handed to the operations.

`process.py` reads settings, prepares the database and runs worker processes. `runtime.py` holds the adapters of each
process. This package imports none of its modules: a process for heavy work needs few of them.
"""
