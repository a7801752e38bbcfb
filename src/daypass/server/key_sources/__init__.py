"""Keys that never leave their HSM or service, and that wrap the data keys of an installation (`crypto.key_encryption`).

`uri` finds the source of a URI. Each other module is one kind of source, or its part in a separate process.
"""
