"""Settings that people edit as JSON, and the error pages of the console."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from inspect import cleandoc
from typing import Any, Final

import msgspec

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.strict_json import read_json
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.wire.console.navigation import menu
from daypass.wire.front import ErrorFormat, RecordedRefusal
from daypass.wire.http import Request, Response
from daypass.wire.web.cookies import theme
from daypass.wire.web.render import PageErrors, page


def members_of(text: str) -> dict[str, Any]:
    """The members of a JSON object. Raises DaypassError(VALIDATION)."""
    try:
        found = read_json(text)
    except ValueError as error:
        raise DaypassError(ErrorKind.VALIDATION, f"The settings are not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise DaypassError(ErrorKind.VALIDATION, "The settings are a JSON object.")
    return found


def descriptions(kind: type[Any]) -> Mapping[str, str]:
    """Each attribute of a class with its paragraph in the class's docstring."""
    texts: dict[str, str] = {}
    current: list[str] = []
    for line in cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2].splitlines():
        names, colon, text = line.strip().partition(": ")
        if colon and not line.startswith(" " * 8):
            current = names.split(", ")
            texts |= dict.fromkeys(current, text)
        elif line.strip():
            texts |= {name: f"{texts[name]} {line.strip()}" for name in current}
    return texts


@lru_cache(maxsize=8)
def form_schema(kind: type[Any]) -> str:
    """The JSON Schema of a class of settings with its descriptions, from which the browser makes a form beside the JSON."""
    schema = msgspec.json.schema(kind)
    members = schema["$defs"][kind.__name__]["properties"]
    for name, text in descriptions(kind).items():
        members[name]["description"] = text[:1].upper() + text[1:]
    return msgspec.json.encode(schema).decode()


# --- Error pages of the console


@dataclass(frozen=True, slots=True)
class ConsoleErrors(PageErrors):
    """`front.ErrorFormat` for the console.

    Attributes:
        person: who is signed in, as far as that is known.
        csrf: for their forms.
        closed: the pages of the menu that they may not open.
    """

    person: SignedIn | None = None
    csrf: str = ""
    closed: Collection[str] = ()

    def show(self, request: Request, status: int, refusal: RecordedRefusal | None, **values: Any) -> Response:
        """See `PageErrors.show`."""
        path = request.raw_path.decode("latin-1")
        operation = refusal.operation if refusal is not None else ""
        return page(
            "console/error",
            status=status,
            theme=theme(request.headers),
            menu=menu(path, self.closed),
            person=self.person,
            csrf=self.csrf,
            account="",
            done="",
            action=operation,
            request_id=request.request_id,
            **values,
        )


CONSOLE_ERRORS: Final[ErrorFormat] = ConsoleErrors()
