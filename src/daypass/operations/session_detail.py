"""What the record says of a session beside its row. It must never hold a secret.

The event of a session is written for every one of them, so the usual one is put together by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from daypass.domain.events import Canonical
from daypass.domain.session import SessionClaims

_ALWAYS: Final = 7  # members that the detail of every session has


def session_detail(claims: SessionClaims, policy: str, policy_arns: tuple[str, ...]) -> Mapping[str, Any]:
    """What the record keeps of a session beside its row: what was asked and what was given, without any secret."""
    detail = _full_detail(claims, policy, policy_arns)
    return detail if len(detail) > _ALWAYS else Canonical.written(detail, _usual_text(claims))


def _usual_text(c: SessionClaims) -> str:
    """The text of a detail that has nothing but what all have: half of what an event costs, if an encoder makes it."""
    q = encode_basestring_ascii
    return (
        f'{{"access_key_id":{q(c.hops[-1].access_key_id)},"expires_at":{c.expires_at},"hops":{len(c.hops)},"kind":'
        f'{q(c.kind)},"name":{q(c.name)},"principal":{q(c.arn)},"principal_id":{q(c.principal_id)}}}'
    )


def _full_detail(claims: SessionClaims, policy: str, policy_arns: tuple[str, ...]) -> dict[str, Any]:
    detail: dict[str, Any] = {
        "kind": claims.kind,
        "principal": claims.arn,
        "principal_id": claims.principal_id,
        "name": claims.name,
        "access_key_id": claims.hops[-1].access_key_id,
        "expires_at": claims.expires_at,
        "hops": len(claims.hops),
    }
    if claims.tags:
        detail["tags"] = dict(claims.tags)
        detail["transitive_keys"] = claims.transitive_keys
    if claims.source_identity:
        detail["source_identity"] = claims.source_identity
    if policy:
        detail["policy"] = policy
    if claims.policy_hashes:
        detail["policy_arns"] = policy_arns
        detail["policy_hashes"] = claims.policy_hashes
    if claims.description:
        detail["description"] = claims.description
    if len(claims.hops) > 1 and claims.hops[-2].session_id:
        detail["parent_session_id"] = claims.hops[-2].session_id
    return detail
