"""The ports: none may be None, and what is switched off says so."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.ports import NO_OAUTH, Env, Scene


@pytest.mark.parametrize("carrier", [Env, Scene])
def test_no_port_may_be_none(carrier: type) -> None:
    optional = {name for name, kind in get_type_hints(carrier).items() if type(None) in get_args(kind)}
    assert not optional


async def test_installation_without_oauth_signs_and_verifies_nothing() -> None:
    assert not NO_OAUTH.enabled
    assert NO_OAUTH.signer.jwks() == b'{"keys":[]}'
    with pytest.raises(DaypassError) as signing:
        NO_OAUTH.signer.sign({"sub": "ann"}, NO_OAUTH.algorithm)
    with pytest.raises(DaypassError) as verifying:
        await NO_OAUTH.signer.verify("a.b.c")
    assert {signing.value.kind, verifying.value.kind} == {ErrorKind.UNSUPPORTED_OPERATION}
