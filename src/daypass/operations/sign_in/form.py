"""The form of a browser's session: sealed, for the server's own table. No secret key is derived, so no browser holds
credentials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from daypass.domain.session import SessionClaims
from daypass.operations.assume.forms import unsealed
from daypass.ports import Env


class BrowserForm:
    """See `assume.forms.Form`. Nobody but the server sees it, so it is on no status list."""

    listed: ClassVar[bool] = False
    record: ClassVar[Mapping[str, Any]] = MappingProxyType({"form": "browser"})

    async def prepare(self, env: Env, session: SessionClaims) -> Callable[[], str]:
        """The sealed session."""
        return unsealed(env, session)[1]


BROWSER_FORM: Final = BrowserForm()
