"""The roles of a request, the approval rules that apply to them, and the versions of both.

They are read in the transaction that makes a decision, so that it never combines two states of the directory.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from daypass.domain.access.rule import CompiledRule, LocalTime, OnCall, Rule, RuleError, is_file_name, read_rule
from daypass.domain.access.terms import RoleRef, Version, binding_of, digest
from daypass.domain.directory import ApprovalRule, Attachment, InlinePolicy, Role
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.model import Context
from daypass.operations.iam.builtin import policy_text
from daypass.operations.outcome import check_web_address
from daypass.operations.principals import SizedCache, find_by_arn
from daypass.ports import Env, Reader

_MANY = 10_000
_LOOKED_AT = 10_000  # roles that one search looks through
_BATCH = 500


class Circumstances(NamedTuple):
    """Input for conditions on requesters: the context keys of a request, and the schedules that name the person now."""

    context: Context
    on_call: frozenset[OnCall] = frozenset()

    def under(self, rule: Rule) -> Context:
        """The keys for conditions of this rule: on call is whom its own schedule names, not that of another (attack A279)."""
        return {**self.context, "daypass:oncall": "true" if rule.on_call in self.on_call else "false"}


class TargetRole(NamedTuple):
    """A role of a request, with the rule that applies to it and the versions of both."""

    role: Role
    rule: CompiledRule
    version: Version


def binding(terms_digest: str, targets: Sequence[TargetRole]) -> str:
    """The digest to which votes on these terms are bound now."""
    return binding_of(terms_digest, (target.version for target in targets))


def targets_of(
    tx: Reader,
    builtin: Mapping[str, str],
    refs: Sequence[RoleRef],
    names: Sequence[str],
    now: Circumstances | None,
    rules: Sequence[str] = (),
) -> tuple[TargetRole, ...]:
    """Roles with their rules for a person with these names. Raises DaypassError: NOT_FOUND, ACCESS_DENIED.

    `now` None: conditions on requesters are not tested. `rules`: the name of the only rule for each role; (): any.
    """
    only = rules or [""] * len(refs)
    return tuple(_target(tx, builtin, ref, names, now, rule) for ref, rule in zip(refs, only, strict=True))


def _target(
    tx: Reader, builtin: Mapping[str, str], ref: RoleRef, names: Sequence[str], now: Circumstances | None, only: str
) -> TargetRole:
    role = find_by_arn(tx, Role, ref.arn)
    if role is None or ref.id not in ("", role.id):
        raise DaypassError(ErrorKind.NOT_FOUND, f"The role {ref.arn} cannot be found.")
    rule = rule_for(tx, role, names, now, only)
    if rule is None or (only and is_superseded(tx, role, rule, names)):
        raise DaypassError(
            ErrorKind.ACCESS_DENIED,
            f"No approval rule allows the person who gets the access to request {ref.arn}.",
            private={"reason": "no rule", "resource": ref.arn},
        )
    return TargetRole(role, rule, Version(role.id, version_of(tx, role, builtin), rule.name, rule.digest))


def rule_for(
    tx: Reader, role: Role, names: Sequence[str], now: Circumstances | None, only: str = ""
) -> CompiledRule | None:
    """The most specific rule for the role whose requesters include a person with these names. `only`: a rule's name."""
    rules = rules_for(tx, role.account, names, now)
    return _most_specific([rule for rule in rules if only in ("", rule.name)], role)


def is_superseded(tx: Reader, role: Role, rule: CompiledRule, names: Sequence[str]) -> bool:
    """Whether a more specific rule applies to the role and a person with these names. It is newer than what was requested
    under `rule`. One with conditions does not count: they may not have held when the request was made (attack A209).
    """
    above = once(tx, ("above", role.id, rule.name), lambda: _more_specific(tx, role, rule))
    return any(each.requesters.include(names, None) for each in above)


def _more_specific(tx: Reader, role: Role, rule: CompiledRule) -> list[CompiledRule]:
    """The rules without conditions that would take the place of this one for a person whom they include."""
    rules = once(tx, ("rules", role.account), lambda: rules_of(tx, role.account))
    plain = [each for each in rules if each.name != rule.name and not each.requesters.conditional]
    return [each for each in plain if _most_specific((each, rule), role) is each]


def rules_for(tx: Reader, account: str, names: Sequence[str], now: Circumstances | None) -> list[CompiledRule]:
    """The rules of an account whose requesters include a person with these names. `now` None: conditions are not tested."""
    found = [rule for rule in rules_of(tx, account) if rule.requesters.include(names, None)]
    return [rule for rule in found if now is None or rule.requesters.include(names, now.under(rule.rule))]


def requestable_roles(
    tx: Reader, account: str, names: Sequence[str], after: str, count: int
) -> tuple[list[tuple[Role, CompiledRule]], str]:
    """Roles after `after`, by name, with their rules, that a person with these names may request; conditions of rules aside.

    Looks through a limited number of roles, and stops at `count`. Also returns where the next call goes on; "" at the end.
    """
    rules, found = rules_for(tx, account, names, None), list[tuple[Role, CompiledRule]]()
    if not rules:
        return found, ""
    for _ in range(_LOOKED_AT // _BATCH):
        roles = tx.find(Role, account=account, order="name", after=after, limit=_BATCH)
        for role in roles:
            if (rule := _most_specific(rules, role)) is not None:
                found.append((role, rule))
                if len(found) == count:
                    return found, role.name
        if len(roles) < _BATCH:
            return found, ""
        after = roles[-1].name
    return found, after


def _most_specific(rules: Iterable[CompiledRule], role: Role) -> CompiledRule | None:
    tags = dict(role.tags)
    fitting = [rule for rule in rules if rule.covers(role.arn, tags)]
    return max(fitting, key=lambda rule: rule.specificity, default=None)


def rules_of(tx: Reader, account: str) -> list[CompiledRule]:
    """The rules of an account. A stored rule that this program cannot read applies to nothing."""
    found = (compiled(stored) for stored in tx.find(ApprovalRule, account=account, order="name", limit=_MANY))
    return [rule for rule in found if rule is not None]


def compiled(stored: ApprovalRule) -> CompiledRule | None:
    """A stored rule, compiled; None when it cannot be read."""
    return _compiled(f"{stored.account}\n{stored.name}\n{stored.document}")


def _compile(text: str) -> CompiledRule | None:
    account, name, document = text.split("\n", 2)
    try:
        return read_rule(account, name, document)
    except RuleError:
        return None


# In characters. All rules of an account fit: otherwise each of its requests would compile all of them (attack A263).
_compiled: SizedCache[CompiledRule | None] = SizedCache(_compile, 4_000_000)


def check_surroundings(env: Env, rule: Rule, now: int) -> None:
    """Raises DaypassError(VALIDATION) for an address that can never be requested, and for a window in a time zone that does
    not exist: it would contain no time. Stored rules are not checked again.
    """
    local = local_time(now)
    for window in (*rule.windows, *(each for automatic in rule.automatic for each in automatic.windows)):
        try:
            local(window.zone)
        except ValueError:
            raise DaypassError(
                ErrorKind.VALIDATION,
                f"The rule is not valid: {window.zone!r} is not a time zone. Examples: UTC, Europe/Berlin.",
            ) from None
    if rule.ticket is not None and rule.ticket.webhook:
        check_web_address(env, "The rule is not valid: ticket.webhook", rule.ticket.webhook)
    if rule.on_call is not None and not is_file_name(rule.on_call):
        check_web_address(env, "The rule is not valid: on_call.calendar", rule.on_call.calendar)


def local_time(now: int) -> LocalTime:
    """`now` (ms) in a time zone by its name."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=now)

    def local(zone: str) -> datetime:
        try:
            return at.astimezone(ZoneInfo(zone))
        except (ZoneInfoNotFoundError, OSError):
            raise ValueError(zone) from None

    return local


def version_of(tx: Reader, role: Role, builtin: Mapping[str, str]) -> str:
    """See `role_digest`; computed once in a snapshot."""
    return once(tx, ("version", role.id), lambda: role_digest(tx, role, builtin))


def role_digest(tx: Reader, role: Role, builtin: Mapping[str, str]) -> str:
    """The version of a role: a digest of everything that decides who may assume it and what it permits."""
    inline = tx.find(InlinePolicy, owner_id=role.id, order="name", limit=_MANY)
    attached = tx.find(Attachment, owner_id=role.id, order="policy_arn", limit=_MANY)
    boundary = [role.boundary_arn, policy_text(tx, builtin, role.boundary_arn)] if role.boundary_arn else None
    parts: list[Any] = [
        [role.id, role.arn, role.trust_document, role.trust_bindings, role.tags],
        [role.max_session_seconds, role.chained_max_seconds],
        boundary,
        [[policy.name, policy.document] for policy in inline],
        [[each.policy_arn, policy_text(tx, builtin, each.policy_arn)] for each in attached],
    ]
    return digest(parts)


# --- Snapshot


E = TypeVar("E")
T = TypeVar("T")


class Snapshot:
    """`ports.Reader` that remembers what it has read."""

    def __init__(self, tx: Reader) -> None:
        self._tx = tx
        self._known: dict[Hashable, Any] = {}

    def get(self, kind: type[E], **equals: Any) -> E | None:
        """See `ports.Reader`."""
        return self.once(_key("get", kind, "", equals), lambda: self._tx.get(kind, **equals))

    def find(
        self,
        kind: type[E],
        *,
        order: str = "",
        path_prefix: str = "",
        after: str = "",
        limit: int = 1000,
        **equals: Any,
    ) -> list[E]:
        """See `ports.Reader`."""
        key = _key("find", kind, order, equals)
        if not (path_prefix or after) and key in self._known:
            return list(self._known[key])
        found = self._tx.find(kind, order=order, path_prefix=path_prefix, after=after, limit=limit, **equals)
        if not (path_prefix or after) and len(found) < limit:  # all that there are
            self._known[key] = tuple(found)
        return found

    def find_among(
        self, kind: type[E], field: str, values: Sequence[str], *, order: str, any_case: bool = False, **equals: Any
    ) -> list[E]:
        """See `ports.Reader`."""
        key = ("among", field, tuple(values), any_case, _key("find", kind, order, equals))
        read = self._tx.find_among
        return list(self.once(key, lambda: read(kind, field, values, order=order, any_case=any_case, **equals)))

    def count(self, kind: type[Any], **equals: Any) -> int:
        """See `ports.Reader`."""
        return self.once(_key("count", kind, "", equals), lambda: self._tx.count(kind, **equals))

    def attached_policies(self, account: str) -> list[str]:
        return self._tx.attached_policies(account)

    def holders(
        self,
        kind: type[E],
        account: str,
        words: Sequence[str],
        arns: Sequence[str],
        groups: Sequence[str],
        *,
        after: str,
    ) -> tuple[list[E], str]:
        return self._tx.holders(kind, account, words, arns, groups, after=after)

    def names(self, kind: type[Any], account: str, part: str, limit: int) -> list[str]:
        return self._tx.names(kind, account, part, limit)

    def value_at(self, kind: type[Any], field: str, place: int, **equals: Any) -> str:
        """See `ports.Reader`."""
        return self._tx.value_at(kind, field, place, **equals)

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The result of the first call with this key."""
        if key not in self._known:
            self._known[key] = compute()
        found: T = self._known[key]
        return found


def _key(way: str, kind: type[Any], order: str, equals: dict[str, Any]) -> Hashable:
    return (way, kind, order, *sorted(equals.items()))


def once(tx: Reader, key: Hashable, compute: Callable[[], T]) -> T:
    """The result of `compute`, computed once in a `Snapshot` and each time in another transaction."""
    return tx.once(key, compute) if isinstance(tx, Snapshot) else compute()
