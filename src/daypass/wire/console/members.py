"""Settings that people edit as JSON."""

from __future__ import annotations

from typing import Any

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.strict_json import read_json


def members_of(text: str) -> dict[str, Any]:
    """The members of a JSON object. Raises DaypassError(VALIDATION)."""
    try:
        found = read_json(text)
    except ValueError as error:
        raise DaypassError(ErrorKind.VALIDATION, f"The settings are not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise DaypassError(ErrorKind.VALIDATION, "The settings are a JSON object.")
    return found
