"""Variables of the environment that look like settings and are ignored, with the setting that each may mean.

Only names are read into the result, never values: a misspelt name may hold a secret.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from daypass.config.settings import Settings

_PREFIX: Final = "DAYPASS_"
_READ: Final = frozenset(
    {
        *("DAYPASS_BOOTSTRAP", "DAYPASS_DEBUG", "DAYPASS_HOME", "DAYPASS_PROFILE"),
        *("DAYPASS_PROMPT", "DAYPASS_ROLE", "DAYPASS_ZDOTDIR", "DAYPASS_OWN_ZDOTDIR"),
    }
)
"""Variables of the server and of the client that are not settings."""
_SERVICE: Final = re.compile(
    r"(?:\w+_)?(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
"""What Kubernetes injects for a Service whose name begins with ours, without the prefix, except for `…PORT`."""
_MAX_NAMES: Final = 20  # names in the result


class IgnoredVariable(NamedTuple):
    """A variable that nothing reads, and the nearest name that is read; "" when none is near."""

    name: str
    nearest: str


def ignored_variables(environ: Mapping[str, str]) -> tuple[IgnoredVariable, ...]:
    """The variables with our prefix that neither name a setting nor are read otherwise, in the order of their names.

    Names with `__` are left out, because `load` refuses those that are not settings.
    """
    names = [name for name, value in environ.items() if name.startswith(_PREFIX) and _is_ignored(name, value)]
    return tuple(IgnoredVariable(name, _nearest(name)) for name in sorted(names)[:_MAX_NAMES])


def _is_ignored(name: str, value: str) -> bool:
    if "__" in name or name in _READ:
        return False
    rest = name.removeprefix(_PREFIX)
    if _SERVICE.fullmatch(rest):
        return False
    return not (rest == "PORT" or rest.endswith("_PORT")) or "://" not in value  # DAYPASS_PORT=tcp://10.0.0.1:8700


def _nearest(name: str) -> str:
    settings = (
        f"{section}__{key}".upper()
        for section, field in Settings.model_fields.items()
        for key in type(field.default).model_fields
    )
    known = {text.replace("__", "_"): text for text in (*settings, *(name.removeprefix(_PREFIX) for name in _READ))}
    close = difflib.get_close_matches(name.removeprefix(_PREFIX)[:128], list(known), 1, cutoff=0.65)
    return f"{_PREFIX}{known[close[0]]}" if close else ""
