"""Access grants: whether one still holds, its use by a call that assumes the role, and its end."""
