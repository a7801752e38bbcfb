"""What a SCIM request can be refused for."""

from __future__ import annotations


class ScimError(Exception):
    """A refusal. `kind`: the scimType of RFC 7644, 3.12; the message is for the client."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
