"""Sealing: sessions, messages and stored secrets. Ring keys never leave it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from daypass.domain.session import SessionClaims


class OpensSecrets(Protocol):
    """Opens stored secrets."""

    def open_secret(self, sealed: bytes, account: str, owner_id: str) -> bytes:
        """Returns the opened secret. Raises ValueError when it was sealed for another owner or was altered."""
        ...


class Sealer(OpensSecrets, Protocol):
    """Seals sessions, messages and stored secrets. Ring keys never leave it."""

    def seal(self, claims: SessionClaims, minimum_size: int = 0) -> str:
        """The session token: base64, bound to the access key id of the last hop. At least `minimum_size` characters."""
        ...

    def unsealed(self, claims: SessionClaims, minimum_size: int = 0) -> tuple[int, Callable[[], str]]:
        """The number of characters of the session token, and the function that makes it, which raises nothing."""
        ...

    async def open(self, unverified_token: str, access_key_id: str) -> SessionClaims:
        """The claims of a token. Raises DaypassError(UNKNOWN_CREDENTIALS) when the token is invalid in any way.

        Expiry and revocation are not checked here.
        """
        ...

    def derivation_key(self) -> str:
        """The id of the derivation-ring key to put into new claims."""
        ...

    async def session_secret(self, claims: SessionClaims) -> str:
        """The secret access key of a session, derived, never stored."""
        ...

    async def underived(self, claims: SessionClaims) -> Callable[[], str]:
        """The function that derives it, which raises nothing."""
        ...

    def seal_message(self, account: str, payload: bytes) -> str:
        """An encoded authorization message."""
        ...

    async def open_message(self, unverified_message: str) -> tuple[str, bytes]:
        """(account, payload). Raises DaypassError(INVALID_AUTHORIZATION_MESSAGE)."""
        ...

    def seal_secret(self, plaintext: bytes, account: str, owner_id: str) -> bytes: ...
