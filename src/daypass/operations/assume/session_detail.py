"""What the record contains about a session in addition to the session itself. It must never contain a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daypass.domain.session import SessionClaims


def session_detail(
    claims: SessionClaims, policy: str, policy_arns: tuple[str, ...], form: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    """The request and the result, without secrets. `form`: see `forms.Form.record`."""
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
    if claims.status_index >= 0:
        detail["status_index"] = claims.status_index
    if form:
        detail.update(form)
    return detail
