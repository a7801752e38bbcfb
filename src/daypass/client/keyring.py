"""Secrets of profiles in the system keyring, with the package `keyring` (the extra `keyring`), if
installed.

Each secret has its own entry, whose name is in the profile. Only backends that encrypt what they hold are used.
"""

from __future__ import annotations

import importlib
import json
import secrets
from typing import Any

_SERVICE = "daypass"
_ENCRYPTED = 1  # the priority that the package recommends a backend from; backends without encryption are below it


class KeyringError(Exception):
    """The keyring is missing, or refuses the operation."""


def _keyring() -> Any:
    """The package, with a backend that can be used. Raises KeyringError."""
    try:
        found: Any = importlib.import_module("keyring")
    except ImportError:
        raise KeyringError("the package is not installed: pip install '.[keyring]' in a checkout of Daypass") from None
    try:
        usable = found.get_keyring().priority >= _ENCRYPTED
    except Exception as error:  # noqa: BLE001  # each backend has errors of its own
        raise KeyringError(_reason(error)) from None
    if not usable:
        raise KeyringError("this system has none that encrypts")
    return found


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def name() -> str:
    """The keyring's name; "" without one."""
    try:
        backend = _keyring().get_keyring()
        return str(getattr(backend, "name", type(backend).__name__))
    except KeyringError:
        return ""


def put(access_key_id: str, secret: str, token: str, refresh_token: str = "") -> str:
    """Stores a secret, session token and refresh token; the name of their entry. Raises KeyringError."""
    entry = f"{access_key_id}/{secrets.token_hex(8)}"
    secret_parts = [secret, token, refresh_token] if refresh_token else [secret, token]
    _call("set_password", entry, json.dumps(secret_parts))
    return entry


def get(entry: str) -> tuple[str, str, str]:
    """The secret, session token and refresh token of an entry, "" for none. Raises KeyringError."""
    try:
        secret, token, *others = json.loads(_call("get_password", entry) or "null")
    except (ValueError, TypeError, RecursionError):
        raise KeyringError(f"it has no entry {entry}") from None
    return str(secret), str(token), str(others[0]) if others else ""


def delete(entry: str) -> None:
    """Deletes an entry. Raises KeyringError."""
    _call("delete_password", entry)


def _call(function: str, *arguments: str) -> Any:
    keyring = _keyring()
    try:
        return getattr(keyring, function)(_SERVICE, *arguments)
    except Exception as error:  # noqa: BLE001  # each backend has errors of its own
        raise KeyringError(_reason(error)) from None
