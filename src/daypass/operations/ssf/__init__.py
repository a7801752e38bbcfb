"""Event streams (OpenID Shared Signals Framework 1.0): receivers follow revoked sessions and changed credentials."""
