"""The IAM API: every operation is a pure function over a reader or a transaction, and one row of a table.

`table.OPERATIONS` lists the operations; `crud_engine.perform` authorizes, executes and records one. This package does
not know the wire or a database.
"""
