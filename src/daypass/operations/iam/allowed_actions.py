"""The actions that the own policies of a role, user or group allow, as they are written."""

from __future__ import annotations

from typing import Final

from daypass.domain.directory import Attachment, InlinePolicy
from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.document import compile_stored
from daypass.domain.policy.model import Effect
from daypass.operations.iam.builtin import policy_text
from daypass.ports import Env, Reader

_MANY: Final = 1_000


def allowed_actions(tx: Reader, env: Env, owner_id: str) -> list[str]:
    """See the module."""
    texts = [policy.document for policy in tx.find(InlinePolicy, owner_id=owner_id, order="name", limit=_MANY)]
    attached = tx.find(Attachment, owner_id=owner_id, order="policy_arn", limit=_MANY)
    texts += [policy_text(tx, env.builtin, each.policy_arn) for each in attached]
    found: list[str] = []
    for text in filter(None, texts):
        for statement in compile_stored(text, PolicyKind.IDENTITY).statements:
            if statement.effect is Effect.ALLOW:
                found += ["*"] if statement.not_action else statement.written.get("Action", ())
    return found
