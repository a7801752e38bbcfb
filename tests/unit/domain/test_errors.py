"""Families of errors: each wire answers a kind by its family unless its table has a row for it."""

from __future__ import annotations

import pytest

from daypass.domain.errors import ErrorKind, Family
from daypass.wire import json_errors as api
from daypass.wire import rolesanywhere_model
from daypass.wire.service_models import aws_code

WIRES = (api.wire_error, aws_code, rolesanywhere_model.wire_error)  # pages, SCIM and AuthZEN answer by the first


def test_family_every_family_has_a_kind() -> None:
    assert {kind.family for kind in ErrorKind} == set(Family)


@pytest.mark.parametrize("kind", ErrorKind)
def test_wire_error_what_can_be_tried_again_is_told_by_the_status_of_every_wire(kind: ErrorKind) -> None:
    statuses = {wire(kind)[1] for wire in WIRES}
    assert (statuses == {503}) == (kind.family is Family.UNAVAILABLE)
    assert (429 in statuses) == (kind.family is Family.THROTTLED)


@pytest.mark.parametrize("kind", [k for k in ErrorKind if k.family is Family.DENIED])
def test_wire_error_denial_is_403_on_every_wire(kind: ErrorKind) -> None:
    assert {wire(kind)[1] for wire in WIRES} == {403}
