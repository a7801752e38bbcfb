"""Pages of a list: markers name the last item shown, so that inserts and deletes between pages lose nothing.

A marker is opaque to callers, valid only for its own list, and carries no authority: it is a position in an order.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from daypass.operations import management
from daypass.operations.iam import faults

T = TypeVar("T")
S = TypeVar("S")
Params: TypeAlias = Mapping[str, Any]
Fetch: TypeAlias = Callable[[str, int], Sequence[T]]

DEFAULT_ITEMS = 100
_BATCHES = 50  # a filter reads at most this many batches for one page; AWS may also return short pages


def page(
    p: Params, scope: str, fetch: Fetch[T], key: Callable[[T], str], keep: Callable[[T], bool] | None = None
) -> tuple[list[T], dict[str, Any]]:
    """One page of up to MaxItems (default 100) items, and its IsTruncated and Marker members.

    `fetch(after, limit)` gives the items that follow the one with key `after` ("" is the start), in the order of `key`.
    `scope` names the list; a marker of another list is refused with ValidationError "Invalid Marker.".
    """
    size = int(p.get("MaxItems") or DEFAULT_ITEMS)
    after = _decode(p["Marker"], scope) if p.get("Marker") else ""
    kept: list[T] = []
    for _ in range(_BATCHES):
        batch = fetch(after, size + 1)
        kept.extend(item for item in batch if keep is None or keep(item))
        if len(kept) > size:
            return kept[:size], _more(scope, key(kept[size - 1]))
        if len(batch) <= size:
            return kept, {"IsTruncated": False}
        after = key(batch[-1])
    return kept, _more(scope, after)


def fitting(
    items: Sequence[T], more: dict[str, Any], scope: str, key: Callable[[T], str], show: Callable[[T], S]
) -> tuple[list[S], dict[str, Any]]:
    """Renders the items of a page by `show`, as many as fit into one answer, with its IsTruncated and Marker members.

    AWS may return fewer than MaxItems, too.
    """
    shown = management.fitting(map(show, items), _characters)
    return shown, more if len(shown) == len(items) else _more(scope, key(items[len(shown) - 1]))


def _characters(value: Any) -> int:
    """The number of characters of all texts in a value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_characters, value.values()))
    return sum(map(_characters, value)) if isinstance(value, (list, tuple)) else 0


def page_of(p: Params, scope: str, items: Sequence[T], key: Callable[[T], str]) -> tuple[list[T], dict[str, Any]]:
    """A page of a list that is held whole in memory. `items` need not be sorted; `key` gives their order."""
    ordered = sorted(items, key=key)

    def fetch(after: str, limit: int) -> Sequence[T]:
        return [item for item in ordered if key(item) > after][:limit]

    return page(p, scope, fetch, key)


def marker_before(scope: str, start: str) -> str:
    """The marker of a list by name whose next page begins with the first name that begins with `start`, or comes after it."""
    return _marker(scope, f"{start[:-1]}{chr(ord(start[-1]) - 1)}\U0010ffff") if start else ""


def _more(scope: str, key: str) -> dict[str, Any]:
    return {"IsTruncated": True, "Marker": _marker(scope, key)}


def _marker(scope: str, key: str) -> str:
    return base64.urlsafe_b64encode(f"{scope}\n{key}".encode()).decode()


def _decode(unverified_marker: str, scope: str) -> str:
    try:
        text = base64.b64decode(unverified_marker.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        raise faults.invalid("Invalid Marker.") from None
    named, separator, key = text.partition("\n")
    if not separator or named != scope or "\0" in key:
        raise faults.invalid("Invalid Marker.")
    return key


# --- The quotas of an account


USERS_PER_ACCOUNT: Final = 100_000
GROUPS_PER_ACCOUNT: Final = 10_000
ROLES_PER_ACCOUNT: Final = 1_000_000
POLICIES_PER_ACCOUNT: Final = 100_000
INSTANCE_PROFILES_PER_ACCOUNT: Final = 100_000
OIDC_PROVIDERS_PER_ACCOUNT: Final = 1_000  # ListOpenIDConnectProviders has no pages
SAML_PROVIDERS_PER_ACCOUNT: Final = 100  # nor has ListSAMLProviders, and a provider is as large as its metadata

ACCESS_KEYS_PER_USER: Final = 2
GROUPS_PER_USER: Final = 10
MFA_DEVICES_PER_USER: Final = 8
POLICIES_PER_ENTITY: Final = 10
ROLES_PER_INSTANCE_PROFILE: Final = 1
CLIENT_IDS_PER_OIDC_PROVIDER: Final = 100
THUMBPRINTS_PER_OIDC_PROVIDER: Final = 5
PRIVATE_KEYS_PER_SAML_PROVIDER: Final = 2
VERSIONS_PER_POLICY: Final = 5
TAGS_PER_ENTITY: Final = 50

# Characters of a policy, white space not counted.
MANAGED_POLICY_SIZE: Final = 6_144
TRUST_POLICY_SIZE: Final = 2_048
USER_INLINE_SIZE: Final = 2_048
GROUP_INLINE_SIZE: Final = 5_120
ROLE_INLINE_SIZE: Final = 10_240

MIN_SESSION_SECONDS: Final = 3_600
MAX_SESSION_SECONDS: Final = 43_200
