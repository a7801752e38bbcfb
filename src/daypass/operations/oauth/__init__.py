"""Access tokens: the second form of a session. Exchanging, introspecting and revoking them."""
