"""SCIM 2.0: filters, patches and resources, as values. A directory provisions people with them (RFC 7643, RFC 7644)."""
