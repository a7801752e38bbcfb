"""SCIM 2.0: a directory creates, changes and removes the people and groups of an account."""
