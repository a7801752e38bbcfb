"""What the linter is told about the surroundings of a document. Whatever is unknown is left out, and not judged."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """The surroundings of one document.

    Attributes:
        account: its owner, "" when unknown.
        accounts: accounts that are no third parties: those of the installation that belong together.
        providers: the issuers (without `https://`) that the account has, None when unknown.
        powerful: of a trust policy: the role's own policies let it do everything or take more.
        max_session_seconds: of a trust policy: the longest session of the role, 0 when unknown.
    """

    account: str = ""
    accounts: frozenset[str] = frozenset()
    providers: frozenset[str] | None = None
    powerful: bool = False
    max_session_seconds: int = 0
