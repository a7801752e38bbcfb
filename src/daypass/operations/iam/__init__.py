"""The IAM API: every operation a pure function over a reader or a transaction, one table row and one driver.

`table.OPERATIONS` lists the operations, `driver.perform` runs one: authorize, read or write, record. Nothing here
knows the wire or a database.
"""
