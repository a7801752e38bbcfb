"""The policies of an account that decide about one service, for a verifier that decides by itself with the same evaluator.

A bundle has the users and roles in buckets, so that only what has changed is sent. Unknown facts, such as the time or
the network of the session's requests, are never guessed: such a decision is left to the server. Pure; server and client share it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from daypass.domain.context import merge_principal_tags, tag_keys
from daypass.domain.directory import Role, User
from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.document import compile_stored
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.policy.partial_evaluation import Known, PartialOutcome
from daypass.domain.question import Asker, hypothetical
from daypass.domain.trust import CallerPolicies

TYPE: Final = "daypass-policies+jwt"
BUCKETS: Final = 64
_SESSION: Final = "urn:daypass:session"
_TAGS: Final = "https://aws.amazon.com/tags"
_SOURCE_IDENTITY: Final = "https://aws.amazon.com/source_identity"
_DECISIONS: Final = 100_000
_PRINCIPALS: Final = 10_000


class PolicyRef(msgspec.Struct, frozen=True, array_like=True):
    """A policy: its name in explanations, its kind, and the SHA-256 of its text."""

    name: str
    kind: PolicyKind
    digest: str


class Held(msgspec.Struct, frozen=True, array_like=True):
    """A user or role with its policies. `boundary`: None when none is set. `blocks`: further guardrails."""

    id: str
    name: str
    path: str
    tags: tuple[tuple[str, str], ...]
    identity: tuple[PolicyRef, ...]
    boundary: tuple[PolicyRef, ...] | None
    blocks: tuple[tuple[PolicyRef, ...], ...] = ()


class SignedContent(msgspec.Struct, frozen=True):
    """The signed part of a bundle. `digests`: of the buckets. `position`: of the change feed, in `epoch`; never lower later.

    `iat` in ms: when this was still so.
    """

    iss: str
    account: str
    service: str
    iat: int
    epoch: str
    position: int
    guardrails: tuple[tuple[PolicyRef, ...], ...]
    digests: tuple[str, ...]


READ_SIGNED: Final = msgspec.json.Decoder(SignedContent)
_READ_BUCKET: Final = msgspec.json.Decoder(tuple[Held, ...])


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def bucket_of(principal_id: str) -> int:
    return int(hashlib.sha256(principal_id.encode()).hexdigest()[:2], 16) % BUCKETS


def text_of(bucket: Iterable[Held]) -> str:
    return msgspec.json.encode(sorted(bucket, key=lambda each: each.id)).decode()


def refs_of(principals: Iterable[Held]) -> set[str]:
    """The digests of all policies of these."""
    return {
        ref.digest
        for held in principals
        for level in (held.identity, held.boundary or (), *held.blocks)
        for ref in level
    }


def concerns(text: str, service: str) -> bool:
    """Whether a policy may match an action of the service. A text that cannot be read does: it denies."""
    try:
        statements = json.loads(text)["Statement"]
        listed = statements if isinstance(statements, list) else [statements]
        return any(_matches(each, service) for each in listed)
    except (ValueError, TypeError, KeyError, RecursionError):
        return True


def _matches(statement: Mapping[str, Any], service: str) -> bool:
    actions = statement.get("Action")
    if actions is None:
        return True
    for action in [actions] if isinstance(actions, str) else actions:
        prefix = action.partition(":")[0].lower()
        if "*" in prefix or "?" in prefix or prefix == service.lower():
            return True
    return False


class PolicySet:
    """A complete bundle, ready to decide. Raises ValueError when parts are missing or are not what was signed."""

    def __init__(self, signed: SignedContent, buckets: Sequence[str], texts: Mapping[str, str]) -> None:
        if len(buckets) != BUCKETS or tuple(map(text_digest, buckets)) != signed.digests:
            raise ValueError("a bucket is not what was signed")
        self.signed, self._service = signed, f"{signed.service}:"
        self.buckets = tuple(buckets)
        self.principals = {held.id: held for text in buckets for held in _READ_BUCKET.decode(text)}
        needed = refs_of(self.principals.values()) | {r.digest for level in signed.guardrails for r in level}
        self.texts = {digest: texts[digest] for digest in needed if digest in texts}
        if len(self.texts) != len(needed) or any(text_digest(text) != digest for digest, text in self.texts.items()):
            raise ValueError("a policy is not what was signed")
        self._compiled: dict[tuple[str, PolicyKind], Any] = {}
        self._known: dict[str, Asker | None] = {}
        self._decided = lru_cache(_DECISIONS)(self._outcome)

    def outcome(self, claims: Mapping[str, Any], action: str, resource: str) -> PartialOutcome:
        """The decision for the verified token with these claims; ALLOWED_IF when only the server can decide."""
        token = claims["jti"]
        if token not in self._known:
            if len(self._known) >= _PRINCIPALS:
                self._known.clear()
            self._known[token] = self._asker(claims)
        return self._decided(token, action, resource)

    def _outcome(self, token: str, action: str, resource: str) -> PartialOutcome:
        asker = self._known.get(token)  # None also if another thread has just cleared them
        if asker is None or not action.lower().startswith(self._service):
            return PartialOutcome.ALLOWED_IF
        return asker.outcome(action, resource)

    def _asker(self, claims: Mapping[str, Any]) -> Asker | None:
        """The session of a token; None when its policies are not all known here."""
        session, subject = claims[_SESSION], str(claims["sub"])
        principal_id, _, name = subject.partition(":")
        held, levels = self.principals.get(principal_id), session.get("policies")
        if held is None or levels is None or session.get("account") != self.signed.account:
            return None
        account = self.signed.account
        entity: User | Role = (
            Role(held.id, account, held.name, held.path, 0, "", tags=held.tags)
            if principal_id.startswith("AROA")
            else User(held.id, account, held.name, held.path, 0, tags=held.tags)
        )
        own = [(NamedPolicy("session", compile_stored(text, PolicyKind.SESSION)),) for text in levels]
        guardrails = tuple(map(self._level, (*self.signed.guardrails, *held.blocks)))
        boundary = None if held.boundary is None else self._level(held.boundary)
        policies = CallerPolicies(self._level(held.identity), boundary, tuple(own), guardrails)
        principal = hypothetical(entity, policies, name)
        given = claims.get(_TAGS, {}).get("principal_tags", {})
        tags = merge_principal_tags(held.tags, tuple((key, values[0]) for key, values in given.items()))
        keys = {**principal.keys, **tag_keys("aws:principaltag/", tags)}
        if _SOURCE_IDENTITY in claims:
            keys["aws:sourceidentity"] = claims[_SOURCE_IDENTITY]
        known = Known(principal.known.keys | {"aws:userid", "aws:sourceidentity"}, ("aws:principaltag/",))
        return Asker(replace(principal, keys=keys, known=known))

    def _level(self, refs: Iterable[PolicyRef]) -> tuple[NamedPolicy, ...]:
        return tuple(NamedPolicy(f"{number} {ref.name}", self._document(ref)) for number, ref in enumerate(refs))

    def _document(self, ref: PolicyRef) -> Any:
        key = ref.digest, ref.kind
        if key not in self._compiled:
            self._compiled[key] = compile_stored(self.texts[ref.digest], ref.kind)
        return self._compiled[key]
