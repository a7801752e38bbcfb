"""The policies of an account that decide about one service, signed, for verifiers that decide locally.

Reading every user and role is heavy work. It is done once after each change of the account, however many verifiers ask.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct, structs

from daypass.api.access import PolicyBundleOut
from daypass.domain.directory import Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.policy_bundle import (
    BUCKETS,
    TYPE,
    Held,
    PolicyRef,
    SignedContent,
    bucket_of,
    concerns,
    refs_of,
    text_digest,
    text_of,
)
from daypass.domain.session import FeedPosition
from daypass.operations.access.snapshot import ResultPage, context_in, in_batches
from daypass.operations.iam.holdings import Gatherer
from daypass.operations.management import allow
from daypass.operations.outcome import served
from daypass.operations.principals import refresh_if_changed
from daypass.ports import Call, Env, Scene

ACTION: Final = "GetPolicyBundle"
_KEPT: Final = 16  # accounts and services whose bundle is kept
_OF_ACCOUNT: Final = 4
_EVERY: Final = 1_000_000


class Built(Struct, frozen=True):
    """A bundle at a position of the feed."""

    seen: FeedPosition
    guardrails: tuple[tuple[PolicyRef, ...], ...]
    buckets: tuple[str, ...]
    digests: tuple[str, ...]
    refs: tuple[frozenset[str], ...]  # the policies of each bucket
    texts: dict[str, str]


class EntityBatch(Struct, frozen=True):
    """Entities read in one batch."""

    principals: tuple[Held, ...]
    guardrails: tuple[tuple[PolicyRef, ...], ...]
    texts: dict[str, str]


class PolicyBundles:
    """The bundles of this process."""

    def __init__(self) -> None:
        self._built: OrderedDict[tuple[str, str], Built] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, env: Env, call: Call, service: str, known: str) -> PolicyBundleOut:
        """daypass:GetPolicyBundle on the caller's account. `known`: the first 8 characters of the digests that the verifier has,
        in the order of the buckets, without separators; "" for none.

        Raises DaypassError: ACCESS_DENIED, UNSUPPORTED_OPERATION (no OAuth), UNAVAILABLE.
        """
        decision = await allow(env, call, ACTION, "policy-bundle", service)
        server = env.oauth
        if not server.enabled:
            raise DaypassError(ErrorKind.UNSUPPORTED_OPERATION, "OAuth is off: server.public_url is not set.")
        await refresh_if_changed(env)
        built = await self._current(env, call, service)
        signed = SignedContent(
            server.issuer, call.caller.account, service, env.clock.now(), *built.seen, built.guardrails, built.digests
        )
        text = server.signer.sign(msgspec.to_builtins(signed), server.algorithm, TYPE)
        stale = [n for n, digest in enumerate(built.digests) if known[8 * n : 8 * n + 8] != digest[:8]]
        wanted = {ref for n in stale for ref in built.refs[n]} | {r.digest for level in built.guardrails for r in level}
        if stale or not known:
            await env.journal.commit(served(call, decision=decision, detail={"service": service, "sent": len(stale)}))
        return PolicyBundleOut(
            text, {str(n): built.buckets[n] for n in stale}, {digest: built.texts[digest] for digest in wanted}
        )

    async def _current(self, env: Env, call: Call, service: str) -> Built:
        account = call.caller.account
        key = account, service
        async with self._locks.setdefault(account, asyncio.Lock()):
            seen, found = env.directory.seen(), self._built.get(key)
            if found is not None and found.seen != seen and await _is_unchanged(env, account, found.seen):
                found = self._built[key] = structs.replace(found, seen=seen)
            if found is None or found.seen != seen:
                found = await _build(env, call, service, seen)
                self._built[key] = found
                self._built.move_to_end(key)
                own = [each for each in self._built if each[0] == account]
                if len(own) > _OF_ACCOUNT or len(self._built) > _KEPT:
                    del self._built[own[0] if len(own) > _OF_ACCOUNT else next(iter(self._built))]
            self._built.move_to_end(key)
            return found


async def _is_unchanged(env: Env, account: str, since: FeedPosition) -> bool:
    """Whether only entities of other accounts have changed."""
    changed = await env.directory.changed_accounts(since)
    return changed is not None and not changed & {account, ""}


async def _build(env: Env, call: Call, service: str, seen: FeedPosition) -> Built:
    page = await in_batches(env, call, _read, (service,), "", _EVERY)
    account, texts = call.caller.account, dict[str, str]()
    sorted_in: list[list[Held]] = [[] for _ in range(BUCKETS)]
    for part in page.entries:
        await env.slices.turn(account)
        texts |= part.texts
        for held in part.principals:
            sorted_in[bucket_of(held.id)].append(held)
    made = []
    for bucket in sorted_in:
        await env.slices.turn(account)
        made.append((text := text_of(bucket), text_digest(text), frozenset(refs_of(bucket))))
    buckets, digests, refs = zip(*made, strict=True)
    return Built(seen, page.entries[0].guardrails, buckets, digests, refs, texts)


# --- A batch, as heavy work ------------------------------------------------------------------------------------------


def _read(scene: Scene, call: Call, service: str, place: str, size: int, steps: int) -> ResultPage[EntityBatch]:
    kind, _, after = (place or "user:").partition(":")
    ctx = context_in(scene, call)
    gatherer, texts = Gatherer(ctx, blocks=True), dict[str, str]()
    entity: type[User | Role] = User if kind == "user" else Role
    found = ctx.tx.find(entity, account=ctx.account, order="name", after=after, limit=size + 1)
    gatherer.read_ahead(found[:size])
    principals = []
    for each in found[:size]:
        policies = gatherer.of(each).policies(())
        boundary = None if policies.boundary is None else _refs(policies.boundary, service, texts)
        blocks = tuple(_refs(level, "", texts) for level in policies.guardrails)
        identity = _refs(policies.identity or (), service, texts)
        principals.append(Held(each.id, each.name, each.path, each.tags, identity, boundary, blocks))
    guardrails = tuple(_refs(level, service, texts) for level in gatherer.guardrail_policies())
    following = f"{kind}:{found[size - 1].name}" if len(found) > size else "role:" if kind == "user" else ""
    return ResultPage((EntityBatch(tuple(principals), guardrails, texts),), size, following, steps)


def _refs(policies: Iterable[NamedPolicy], service: str, texts: dict[str, str]) -> tuple[PolicyRef, ...]:
    """The policies that concern the service; "": all."""
    refs = []
    for policy in policies:
        text = policy.document.text
        if not service or concerns(text, service):
            digest = text_digest(text)
            texts[digest] = text
            refs.append(PolicyRef(policy.name, policy.document.kind, digest))
    return tuple(refs)
