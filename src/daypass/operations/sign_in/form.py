"""The form of a browser's session: sealed, for the server's own table. No secret key is derived, so no browser holds
credentials.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from daypass.domain.session import SessionClaims
from daypass.operations.assume.forms import sealed
from daypass.ports import Env

_RECORD: Final[Mapping[str, Any]] = MappingProxyType({"form": "browser"})


class BrowserForm:
    """See `assume.forms.Form`."""

    @property
    def record(self) -> Mapping[str, Any]:
        return _RECORD

    @property
    def listed(self) -> bool:
        """Nobody but the server sees it, so it is on no status list."""
        return False

    async def render(self, env: Env, session: SessionClaims) -> str:
        """The sealed session."""
        return sealed(env, session)


BROWSER_FORM: Final = BrowserForm()
