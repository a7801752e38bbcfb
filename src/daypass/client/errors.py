"""The errors of calls. They are apart from `daypass.client.http`, so that naming an error imports no HTTP library."""

from __future__ import annotations

from typing import Any, NoReturn


class ClientError(Exception):
    """A call was answered with an error, or not answered.

    `code` is the protocol's code, "" when there was no answer; `status` the HTTP status, 0 likewise. `encoded` is the
    encoded authorization message, if one came.
    """

    def __init__(self, code: str, message: str, status: int = 0, request_id: str = "", encoded: str = "") -> None:
        super().__init__(message)
        self.nonce = ""  # that the server wants in a DPoP proof
        self.endpoint = ""  # of the server that answered
        self.code, self.message, self.status, self.request_id, self.encoded = code, message, status, request_id, encoded

    @property
    def unavailable(self) -> bool:
        """Whether the server cannot be reached or cannot answer now. Its decision is then unknown."""
        return self.status in (0, 429) or self.status >= 500

    @property
    def ended(self) -> bool:
        """Whether the server no longer accepts the session that signed the call: it expired or was revoked."""
        return self.code in ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId")


class Members(dict[str, Any]):
    """A JSON object from a server. A missing member raises ClientError, not KeyError, because it is the server's
    fault.
    """

    def __missing__(self, name: str) -> NoReturn:
        raise ClientError("", f"the server's answer has no '{name}'; is it a Daypass of another version?")
