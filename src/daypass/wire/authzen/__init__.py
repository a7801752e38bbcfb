"""The OpenID AuthZEN Authorization API 1.0: access decisions and searches for other services."""
