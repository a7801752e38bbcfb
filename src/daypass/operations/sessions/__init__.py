"""Sessions: the caller's identity, narrower or shorter credentials for itself, and the recorded sessions."""
