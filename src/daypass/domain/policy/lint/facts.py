"""What the linter knows of a document's environment. Unknown facts are left out, and their checks are skipped."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """The environment of one document.

    Attributes:
        account: its owner, "" when unknown.
        accounts: accounts that are not third parties: those of the same installation.
        providers: the issuers (without `https://`) that the account has, None when unknown.
        powerful: for a trust policy: whether the role's policies allow everything, or allow it to gain more
            permissions.
        max_session_seconds: for a trust policy: the longest session of the role, 0 when unknown.
    """

    account: str = ""
    accounts: frozenset[str] = frozenset()
    providers: frozenset[str] | None = None
    powerful: bool = False
    max_session_seconds: int = 0
