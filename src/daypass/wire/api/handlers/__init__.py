"""Which function performs each operation of the management API, and what it makes of results that are not answers yet."""

from __future__ import annotations

from typing import Final

from daypass.operations.accounts.read_settings import ShownSettings
from daypass.wire.api.engine import Endpoint
from daypass.wire.api.handlers import access, administration, requests


def endpoints(settings: ShownSettings) -> tuple[Endpoint, ...]:
    """The table of the whole API. `settings`: of the server, without secrets."""
    return (*administration.endpoints(settings), *access.ENDPOINTS, *requests.ENDPOINTS)


OPERATIONS: Final = tuple(each.operation for each in endpoints({}))
"""Every operation of the management API."""
