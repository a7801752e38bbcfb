"""The inputs of a simulation: parsed, checked and refused as in AWS's policy simulator. It evaluates nothing.

Source: IAM API Reference, "SimulatePrincipalPolicy", "SimulateCustomPolicy", "ContextEntry", "PolicyIdentifier".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from msgspec import structs

from daypass.domain.arn import account_of, entity_named, parse_arn, read_arn
from daypass.domain.claims import PrincipalKind
from daypass.domain.directory import Role, User
from daypass.domain.errors import DaypassError
from daypass.domain.policy import values
from daypass.domain.policy.document import PolicyDocument, PolicyError, PolicyKind, parse
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.policy.model import Layer, PrincipalFacts, Value
from daypass.domain.policy.pattern import fold
from daypass.domain.question import Principal, hypothetical
from daypass.domain.trust import CallerPolicies
from daypass.operations.crud import Params
from daypass.operations.iam import faults
from daypass.operations.iam.context import ReadContext
from daypass.operations.iam.holdings import Holdings, PolicySource, policies_in
from daypass.operations.iam.owners import Owner

EVERY_RESOURCE: Final = "*"
_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "string": str,
    "numeric": values.number,
    "boolean": values.boolean,
    "ip": values.address,
    "binary": values.binary,
    "date": values.date,
}
_LIST: Final = "List"
_NONE: Final = CallerPolicies()
_NOTHING: Final = Holdings(())
_CALLERS: Final = {
    "user": PrincipalKind.USER.value,
    "role": PrincipalKind.ROLE_SESSION.value,
    "group": PrincipalKind.USER.value,
}
_INSTANCE: Final = ("instance", "image", "security-group", "network-interface")
_HANDLING: Final[Mapping[str, tuple[str, ...]]] = {
    "EC2-VPC-InstanceStore": _INSTANCE,
    "EC2-VPC-InstanceStore-Subnet": (*_INSTANCE, "subnet"),
    "EC2-VPC-EBS": (*_INSTANCE, "volume"),
    "EC2-VPC-EBS-Subnet": (*_INSTANCE, "subnet", "volume"),
}


@dataclass(frozen=True, slots=True)
class SimulatedScenario:
    """One simulation. `principal` has the keys of the request. `owner` is the account that owns resources
    whose ARN has no account, "" when none was given.
    """

    principal: Principal
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    owner: str
    resource: PolicySource | None
    holdings: Holdings = _NOTHING
    guardrails: tuple[tuple[PolicySource, ...], ...] = ()

    @property
    def everything(self) -> bool:
        """Whether the request names no particular resource."""
        return self.resources == (EVERY_RESOURCE,)

    def under(self, holdings: Holdings, guardrails: tuple[tuple[PolicySource, ...], ...]) -> SimulatedScenario:
        """The simulation with these policies of the principal."""
        policies = holdings.policies(tuple(map(policies_in, guardrails)))
        principal = structs.replace(self.principal, policies=policies)
        return replace(self, principal=principal, holdings=holdings, guardrails=guardrails)

    def find(self, layer: Layer, name: str) -> PolicySource:
        """The source of a policy that determined a decision."""
        if layer is Layer.RESOURCE and self.resource is not None:
            return self.resource
        sources = self.holdings.identity if layer is Layer.IDENTITY else self.holdings.boundary or ()
        return next(source for source in sources if source.policy.name == name)


def read(ctx: ReadContext, p: Params, source: Owner | None) -> SimulatedScenario:
    """The scenario of a request about the policies of `source` (None: those in the request).

    Raises DaypassError(INVALID_INPUT).
    """
    actions = _actions(p["ActionNames"])
    resources = _resources(p.get("ResourceArns") or (), p.get("ResourceHandlingOption"))
    caller_arn = p.get("CallerArn") or (source.arn if isinstance(source, (User, Role)) else "")
    principal = _caller(ctx, caller_arn, source)
    keys = {**principal.keys, **_context(p.get("ContextEntries") or ())}
    return SimulatedScenario(
        principal=structs.replace(principal, keys=keys),
        actions=actions,
        resources=resources,
        owner=_owner(p.get("ResourceOwner") or ""),
        resource=_resource_policy(p.get("ResourcePolicy"), actions, caller_arn),
    )


# --- Policies in the request -----------------------------------------------------------------------------------------


def request_policies(texts: Sequence[str] | None, label: str, kind: PolicyKind) -> tuple[PolicySource, ...]:
    """The policies of a parameter, named `label`.1, `label`.2 and so on. Raises DaypassError(INVALID_INPUT)."""
    return tuple(_parsed_source(text, f"{label}.{number}", kind) for number, text in enumerate(texts or (), 1))


def request_boundary(p: Params) -> tuple[PolicySource, ...] | None:
    """The boundary in the request, None when it has none."""
    sources = request_policies(
        p.get("PermissionsBoundaryPolicyInputList"), "PermissionsBoundaryPolicyInputList", PolicyKind.IDENTITY
    )
    if len(sources) > 1:
        raise faults.invalid_input("Only one permissions boundary policy can be specified.")
    return sources or None


def request_guardrails(p: Params) -> tuple[tuple[PolicySource, ...], ...]:
    """OrderedOrganizationPolicyInputList: one level of policies for each of its members."""
    levels = p.get("OrderedOrganizationPolicyInputList") or ()
    return tuple(
        request_policies(
            level.get("ServiceControlPolicyInputList"),
            f"OrderedOrganizationPolicyInputList.{number}.ServiceControlPolicyInputList",
            PolicyKind.GUARDRAIL,
        )
        for number, level in enumerate(levels, 1)
    )


def _parsed_source(text: str, label: str, kind: PolicyKind) -> PolicySource:
    try:
        return PolicySource(NamedPolicy(label, _parsed(text, kind)), label)
    except PolicyError as error:
        raise faults.invalid_input(f"Invalid policy {label}: {error.message}") from None


@lru_cache(maxsize=128)
def _parsed(text: str, kind: PolicyKind) -> PolicyDocument:
    return parse(text, kind)


def _resource_policy(text: str | None, actions: tuple[str, ...], caller_arn: str) -> PolicySource | None:
    """A trust policy is accepted as the resource policy when all actions are STS actions."""
    if not text:
        return None
    if not caller_arn:
        raise faults.invalid_input("CallerArn must be specified when a resource policy is specified.")
    try:
        return _parsed_source(text, "ResourcePolicy", PolicyKind.RESOURCE)
    except DaypassError:
        if not all(fold(action).startswith("sts:") for action in actions):
            raise
    return _parsed_source(text, "ResourcePolicy", PolicyKind.TRUST)


# --- Actions and resources -------------------------------------------------------------------------------------------


def _actions(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        raise faults.invalid_input("At least one action name must be specified.")
    for name in names:
        service, colon, action = name.partition(":")
        if not (service and colon and action) or ":" in action or any(wild in name for wild in "*?"):
            raise faults.invalid_input(f"Invalid Input Action: {name}")
    return tuple(dict.fromkeys(names))


def _resources(arns: Sequence[str], handling: str | None) -> tuple[str, ...]:
    for arn in arns:
        if arn != EVERY_RESOURCE and read_arn(arn) is None:
            raise faults.invalid_input(f"ResourceNames are not in a valid ARN format: {arn}.")
    if handling is not None:
        _check_handling(arns, handling)
    return tuple(dict.fromkeys(arns)) or (EVERY_RESOURCE,)


def _check_handling(arns: Sequence[str], handling: str) -> None:
    needed = _HANDLING.get(handling)
    if needed is None:
        raise faults.invalid_input(f"Invalid Resource Handling Option: {handling}")
    kinds = {parse_arn(arn).resource.partition("/")[0] for arn in arns if arn != EVERY_RESOURCE}
    missing = [kind for kind in needed if kind not in kinds]
    if missing:
        raise faults.invalid_input(f"{handling} requires resources that are missing: {', '.join(missing)}")


def _owner(arn: str) -> str:
    """The account of ResourceOwner, which is the ARN of an account."""
    if not arn:
        return ""
    account = account_of(arn)
    if not account or arn != f"arn:aws:iam::{account}:root":
        raise faults.invalid_input(f"'{arn}' is not a valid as a Resource Owner.")  # AWS's own wording
    return account


# --- Caller ----------------------------------------------------------------------------------------------------------


def entity_type_and_name(arn: str) -> tuple[str, str]:
    """("user" | "group" | "role", name) of an IAM ARN. Raises DaypassError(INVALID_INPUT)."""
    named = entity_named(arn, _CALLERS)
    if named is None:
        raise faults.invalid_input(f"Invalid Entity Arn: {arn} does not clearly define entity type and name.")
    return named


def _caller(ctx: ReadContext, arn: str, source: Owner | None) -> Principal:
    """The caller. One that does not exist here has only its ARN."""
    if not arn:
        return Principal(PrincipalFacts(PrincipalKind.USER, ctx.account, ()), {}, _NONE)
    word, name = entity_type_and_name(arn)
    entity: Owner | User | Role | None = source if source is not None and source.arn == arn else None
    if entity is None and account_of(arn) == ctx.account and word != "group":
        kind: type[User | Role] = User if word == "user" else Role
        entity = ctx.tx.get(kind, account=ctx.account, name=name)
    if isinstance(entity, (User, Role)) and entity.arn == arn:
        return hypothetical(entity, _NONE)
    keys: dict[str, Value] = {
        "aws:principalarn": arn,
        "aws:principalaccount": account_of(arn),
        "aws:principaltype": _CALLERS[word],
    }
    if word == "user":
        keys["aws:username"] = name
    return Principal(PrincipalFacts(_CALLERS[word], account_of(arn), ((arn, ""),)), keys, _NONE)


# --- Context -----------------------------------------------------------------------------------------------------------


def _context(entries: Sequence[Mapping[str, Any]]) -> dict[str, Value]:
    keys: dict[str, Value] = {}
    for entry in entries:
        name = entry.get("ContextKeyName")
        if not name:
            raise faults.invalid_input("A context entry must have a ContextKeyName.")
        if fold(name) in keys:
            raise faults.invalid_input(f"Context key {name} is specified more than once.")
        value = _context_value(name, entry)
        if value is not None:
            keys[fold(name)] = value
    return keys


def _context_value(name: str, entry: Mapping[str, Any]) -> Value | None:
    """The value of an entry, of its type; None for a missing single value."""
    texts: list[str] = list(entry.get("ContextKeyValues") or ())
    kind = entry.get("ContextKeyType") or ("string" if len(texts) < 2 else "stringList")
    reader = _READERS[kind.removesuffix(_LIST)]
    for text in texts:
        if reader(text) is None:
            raise faults.invalid_input(f"Context key {name} has a value that is not of type {kind}: {text}")
    if kind.endswith(_LIST):
        return tuple(texts)
    if len(texts) > 1:
        raise faults.invalid_input(f"Context key {name} of type {kind} can have one value only.")
    return texts[0] if texts else None
