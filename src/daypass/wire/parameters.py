"""Checks parameters of operations that the service models describe, for wires that have parameters from elsewhere than a
signed request: the forms of the console. The checks and their messages are those of the services' own wires.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.aws import models
from daypass.wire.rolesanywhere import model as rolesanywhere


def checked(service: str, operation: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters, which satisfy the model of "iam" or "rolesanywhere". Raises DaypassError(VALIDATION)."""
    if service == "rolesanywhere":
        return rolesanywhere.load().operations[operation].checked(params)
    found = models.load(service).operation(operation)
    if found is None:
        raise ValueError(f"{service} has no operation {operation}")
    if not found.check(params):
        raise DaypassError(ErrorKind.VALIDATION, found.explain(params))
    return params
