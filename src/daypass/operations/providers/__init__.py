"""Identity providers: their settings, their keys, and which issuers an account may trust."""
