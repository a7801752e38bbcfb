"""The SCIM 2.0 protocol at `/scim/v2/`, for directories such as Entra ID and Okta (RFC 7643, RFC 7644)."""
