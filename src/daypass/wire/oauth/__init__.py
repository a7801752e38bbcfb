"""OAuth 2.0: the metadata and keys of the authorization server, the token endpoint, introspection and revocation."""
