"""The endpoints of event streams: OpenID Shared Signals Framework 1.0, and polling (RFC 8936)."""
