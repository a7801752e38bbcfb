"""What the record says of a session beside its row. It must never hold a secret.

The event of a session is written for every one of them, so the usual one is put together by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daypass.domain.events import Written
from daypass.domain.plain import is_plain
from daypass.domain.session import SessionClaims


def session_detail(claims: SessionClaims, policy: str, policy_arns: tuple[str, ...]) -> Mapping[str, Any]:
    """What the record keeps of a session beside its row: what was asked and what was given, without any secret."""
    c, hops = claims, claims.hops
    more = c.tags or c.source_identity or policy or c.policy_hashes or c.description
    if more or (len(hops) > 1 and hops[-2].session_id):
        return _full_detail(c, policy, policy_arns)
    text = (
        f'{{"access_key_id":"{hops[-1].access_key_id}","expires_at":{c.expires_at},"hops":{len(hops)},"kind":'
        f'"{c.kind._value_}","name":"{c.name}","principal":"{c.arn}","principal_id":"{c.principal_id}"}}'
    )
    return Written(text) if is_plain(text, 12) else _full_detail(c, policy, policy_arns)


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
