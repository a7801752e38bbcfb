"""Recovery codes: for a person whose MFA devices are lost. Each works once, in place of a device, at a sign-in.

A code is 80 random bits, so a stored digest needs no slow hash. New codes replace all earlier ones.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from daypass.domain.directory import RecoveryCode, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision
from daypass.operations.iam.user_devices import codes_change, has_device, remove_codes
from daypass.operations.notifications.notify import announce
from daypass.operations.outcome import served
from daypass.operations.ssf import queue
from daypass.ports import Call, Env, Ids, Tx

NUMBER: Final = 10
_BYTES: Final = 10  # 16 characters of base 32
_WRONG: Final = "The recovery code is wrong or was used before."


def new_codes(ids: Ids) -> tuple[str, ...]:
    """NUMBER new codes as people read them: "abcd-efgh-ijkl-mnop"."""
    texts = [base64.b32encode(ids.seed()[:_BYTES]).decode("ascii").lower() for _ in range(NUMBER)]
    return tuple("-".join(text[at : at + 4] for at in range(0, len(text), 4)) for text in texts)


def digest(code: str) -> str:
    """What the table stores of a code, however it is typed."""
    letters = "".join(char for char in code.lower() if char.isascii() and char.isalnum())
    return hashlib.sha256(b"recovery code\0" + letters.encode("ascii")).hexdigest()


def replace_codes(
    env: Env, tx: Tx, call: Call, user: User, codes: tuple[str, ...], decision: Decision
) -> tuple[tuple[str, ...], Event]:
    """Stores new codes and revokes the earlier ones, in a transaction of a caller who may do it. Raises
    DaypassError(VALIDATION) for a user without an MFA device.
    """
    if not has_device(tx, user):
        raise DaypassError(ErrorKind.VALIDATION, "Recovery codes replace an MFA device: register a device first.")
    changes = (*remove_codes(tx, user), codes_change(user, "create"))
    queue.announce(env, tx, changes, call.now, actor_id=call.caller.principal_id)
    for code in codes:
        tx.insert(RecoveryCode(user.id, digest(code), user.account, call.now))
    detail = {"user": user.arn, "recovery_codes": len(codes)}
    return codes, served(call, kind=EventType.DIRECTORY_CHANGED, account=user.account, decision=decision, detail=detail)


async def accept(env: Env, call: Call, user: User, unverified_code: str) -> None:
    """Consumes a code of the user, who is `call.caller`. Raises DaypassError(ACCESS_DENIED)."""
    wanted = digest(unverified_code[:64])

    def change(tx: Tx) -> tuple[None, Event]:
        code = tx.get(RecoveryCode, user_id=user.id, digest=wanted)
        if code is None:
            private = {"reason": "recovery code", "unverified_user": user.arn}
            raise DaypassError(ErrorKind.ACCESS_DENIED, _WRONG, private=private)
        tx.delete(code)
        queue.announce(env, tx, (codes_change(user, "revoke"),), call.now, actor_id=user.id)
        left = tx.count(RecoveryCode, user_id=user.id)
        event = served(call, kind=EventType.RECOVERY_CODE_USED, detail={"user": user.arn, "left": left})
        return None, announce(env, tx, event)

    await env.journal.write(change, account=user.account)
