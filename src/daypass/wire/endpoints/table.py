"""Which function performs each operation of the management API, and what it makes of results that are not answers yet."""

from __future__ import annotations

from typing import Final

import msgspec

from daypass.operations.guardrails import ShownSettings
from daypass.wire.endpoints import access, administration, requests
from daypass.wire.endpoints.endpoint import Endpoint


def endpoints(settings: ShownSettings) -> tuple[Endpoint, ...]:
    """The table of the whole API. `settings`: of the server, without secrets."""
    found = (*administration.endpoints(settings), *access.endpoints(), *requests.ENDPOINTS)
    for each in found:
        msgspec.json.Decoder(each.operation.input)  # two threads must not describe a struct at the same time
    return found


OPERATIONS: Final = tuple(each.operation for each in endpoints({}))
"""Every operation of the management API."""
