"""Nonces of DPoP proofs: for how long they are accepted, and what an unavailable key means."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.oauth import request
from daypass.operations.oauth.request import NONCE_SECONDS

NOW = 1_800_000_000_000


class Sealer:
    def __init__(self, content: bytes = b"", account: str = "", error: ErrorKind | None = None) -> None:
        self.opened, self.error = (account, content), error

    async def open_message(self, _nonce: str) -> tuple[str, bytes]:
        if self.error is not None:
            raise DaypassError(self.error, "")
        return self.opened


async def outcome(sealer: Sealer) -> ErrorKind | None:
    env: Any = SimpleNamespace(sealer=sealer)
    try:
        await request._check_nonce(env, "nonce", NOW)
    except DaypassError as error:
        return error.kind
    return None


@pytest.mark.parametrize("made", [NOW, NOW + 60_000, NOW - NONCE_SECONDS * 1000])
async def test_check_nonce_within_its_lifetime_and_the_difference_of_clocks_is_accepted(made: int) -> None:
    assert await outcome(Sealer(b"dpop-nonce %d" % made)) is None


@pytest.mark.parametrize(
    "sealer",
    [
        Sealer(b"dpop-nonce %d" % (NOW + 60_001)),
        Sealer(b"dpop-nonce %d" % (NOW - NONCE_SECONDS * 1000 - 1)),
        Sealer(b"dpop-nonce %d" % NOW, account="111122223333"),  # an authorization message of an account
        Sealer(b"%d" % NOW),
        Sealer(error=ErrorKind.INVALID_AUTHORIZATION_MESSAGE),
    ],
)
async def test_check_nonce_of_another_time_or_purpose_is_refused_with_a_new_one(sealer: Sealer) -> None:
    assert await outcome(sealer) is ErrorKind.USE_DPOP_NONCE


async def test_check_nonce_without_the_keys_is_unavailable_not_refused() -> None:
    assert await outcome(Sealer(error=ErrorKind.UNAVAILABLE)) is ErrorKind.UNAVAILABLE
