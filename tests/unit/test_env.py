"""No member of `Env` may be None, and a feature that is off says so."""

from __future__ import annotations

from dataclasses import fields

import pytest

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.ports import NO_OAUTH, Env, Scene


@pytest.mark.parametrize("carrier", [Env, Scene])
def test_no_member_may_be_none(carrier: type) -> None:
    assert not {each.name for each in fields(carrier) if "None" in str(each.type)}


@pytest.mark.parametrize("part", ["signer", "proofs", "documents"])
def test_installation_without_oauth_signs_and_verifies_nothing(part: str) -> None:
    assert not NO_OAUTH.enabled
    with pytest.raises(DaypassError) as refusal:
        getattr(NO_OAUTH, part)
    assert refusal.value.kind is ErrorKind.UNSUPPORTED_OPERATION
