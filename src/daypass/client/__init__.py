"""The client: gets sessions of roles and renews them. It needs the standard library and `daypass.sigv4` only.

    from daypass.client import CredentialProvider, Profile

It must never import anything of the server.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself takes time to import
    from typing import Any

    from daypass.client.credentials import AssumeRole, Credentials
    from daypass.client.errors import ClientError
    from daypass.client.profiles import Profile
    from daypass.client.provider import CredentialProvider

__all__ = ["AssumeRole", "ClientError", "CredentialProvider", "Credentials", "Profile"]

_HOMES = {
    "AssumeRole": "credentials",
    "CredentialProvider": "provider",
    "Credentials": "credentials",
    "ClientError": "errors",
    "Profile": "profiles",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(name)
    import importlib  # nothing is imported before it is used: the command line must start fast

    return getattr(importlib.import_module(f"daypass.client.{home}"), name)
