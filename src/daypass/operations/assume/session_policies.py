"""Session policies: checks them, and stores the text of managed ones while a session names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from daypass.domain.claims import RequestFacts
from daypass.domain.directory import PolicyContent
from daypass.domain.errors import DaypassError, ErrorKind, ignored
from daypass.domain.events import Event, EventType
from daypass.domain.policy.document import PolicyKind, parse
from daypass.domain.policy.source import PolicyError
from daypass.operations import heavy
from daypass.operations.authorize import find_current
from daypass.operations.outcome import event_of
from daypass.operations.sized_cache import SizedCache
from daypass.ports import Env, ManagedPolicyView, Tx

MAX_POLICY_ARNS: Final = 10
_DAY_MS: Final = 86_400_000
_FORGET: Final = 4  # old texts checked with each new one: more are deleted than inserted


async def check_policies(env: Env, account: str, policy: str, policy_arns: tuple[str, ...]) -> None:
    """Raises DaypassError (MALFORMED_POLICY, VALIDATION) unless these are valid session policies of one request."""
    if policy:
        await check_policy(env, account, policy)
    if len(policy_arns) > MAX_POLICY_ARNS:
        raise DaypassError(
            ErrorKind.VALIDATION, f"A session can have at most {MAX_POLICY_ARNS} managed session policies."
        )


async def check_policy(env: Env, account: str, text: str) -> None:
    """Raises DaypassError(MALFORMED_POLICY) unless `text` is a session policy. A long one is parsed in a worker process."""
    if text in _checked:
        return
    await heavy.parse(env, account, _check, text)
    _checked.add(text, True)  # the text itself


def _check(text: str) -> None:
    try:
        parse(text, PolicyKind.SESSION)
    except PolicyError as error:
        raise DaypassError(ErrorKind.MALFORMED_POLICY, str(error)) from None


_checked: SizedCache[bool] = SizedCache(bool, 2_000_000)  # requests often repeat the same policies


async def keep_policies(
    env: Env, facts: RequestFacts, actor: Mapping[str, Any], account: str, arns: tuple[str, ...], expires_at: int
) -> tuple[str, ...]:
    """The content hashes of managed policies. Each text is stored until at least `expires_at` (ms).

    The policies must belong to `account` or be built in. A text is stored for a day or two longer than requested, so
    that the following sessions need no write.
    """
    hashes: list[str] = []
    for arn in arns:
        view = await _managed_policy(env, account, arn)
        if view.hash not in hashes:
            kept = await env.directory.policy_content(view.hash)
            if kept is None or kept.keep_until < expires_at:
                await _keep(env, facts, actor, account, view, expires_at)
            hashes.append(view.hash)
    return tuple(hashes)


async def _managed_policy(env: Env, account: str, arn: str) -> ManagedPolicyView:
    view = None
    if arn.startswith((f"arn:aws:iam::{account}:policy/", "arn:aws:iam::aws:policy/")):
        view = await find_current(env, lambda: env.directory.managed_policy(arn))
    if view is None:
        raise DaypassError(ErrorKind.VALIDATION, f"Policy {arn} does not exist or is not attachable.")
    return view


async def _keep(
    env: Env, facts: RequestFacts, actor: Mapping[str, Any], account: str, view: ManagedPolicyView, expires_at: int
) -> None:
    until = (expires_at // _DAY_MS + 2) * _DAY_MS
    content = PolicyContent(hash=view.hash, account=account, document=view.document, keep_until=until)
    detail = {"kept": view.hash, "policy_arn": view.policy.arn, "keep_until": until}
    event = event_of(EventType.DIRECTORY_CHANGED, facts, actor, at=env.clock.now(), account=account, detail=detail)

    def change(tx: Tx) -> tuple[None, Event]:
        kept = tx.get(PolicyContent, hash=view.hash)
        if kept is None:
            tx.insert(content)
        elif kept.keep_until < until:
            tx.replace(replace(kept, keep_until=until))
        for old in tx.find(PolicyContent, order="keep_until", limit=_FORGET):
            if old.keep_until < event.at - _DAY_MS:  # every session that names it expired long ago
                tx.delete(old)
        return None, event

    with ignored(ErrorKind.ALREADY_EXISTS):
        await env.journal.write(change, account=account)
        return
    await env.journal.write(change, account=account)  # another process stored it at the same time
