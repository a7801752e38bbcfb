"""Trust policies: what they admit, and templates for common providers.

Pure: the trust policy is the role's resource policy, and the one evaluator decides. Within one account it evaluates all
layers at once. Between accounts each side is decided separately, the caller's first, and both must allow. Every refusal
therefore belongs to one account and is explained with only that account's policies. Only the policies of the role's own
account see the role's tags: other accounts cannot learn of a role by testing them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.context import merged, resource_context
from daypass.domain.directory import PasswordPolicy, Tags
from daypass.domain.policy.compiled import Statement
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.evaluate import decide
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, Context, Decision, Layer, PrincipalFacts, Value
from daypass.domain.presets import PULL_REQUESTS, Preset, SubjectForm

ASSUME_ROLE = "sts:AssumeRole"
TAG_SESSION = "sts:TagSession"
SET_SOURCE_IDENTITY = "sts:SetSourceIdentity"


class CallerPolicies(Struct, frozen=True):
    """The caller's layers: identity policies, boundary, session levels, and guardrails of its account.

    `scope_downs`: see `Layers`. `identity` is None for callers without an identity here (federated ones): the trust policy alone decides.
    """

    identity: tuple[NamedPolicy, ...] | None = None
    boundary: tuple[NamedPolicy, ...] | None = None
    session: tuple[tuple[NamedPolicy, ...], ...] = ()
    guardrails: tuple[tuple[NamedPolicy, ...], ...] = ()
    scope_downs: int = 0

    def layers(
        self, *, same_account: bool, resource: NamedPolicy | None = None, bindings: Mapping[str, str] | None = None
    ) -> Layers:
        """The layers of a decision about a resource, with its policy if it has one."""
        return Layers(
            same_account,
            self.identity,
            resource,
            bindings,
            self.boundary,
            self.session,
            self.guardrails,
            self.scope_downs,
        )


class CallerLayers:
    """`CallerPolicies` of one principal without session policies. The same guardrails give the same object.

    `DecisionCache` depends on that.
    """

    __slots__ = ("_boundary", "_identity", "_last")

    def __init__(self, identity: tuple[NamedPolicy, ...], boundary: tuple[NamedPolicy, ...] | None) -> None:
        self._identity = identity
        self._boundary = boundary
        self._last: CallerPolicies | None = None

    def under(self, guardrails: tuple[tuple[NamedPolicy, ...], ...]) -> CallerPolicies:
        """The policies, with the guardrails of the caller's account."""
        last = self._last
        if last is None or last.guardrails is not guardrails:
            last = self._last = CallerPolicies(self._identity, self._boundary, (), guardrails)
        return last


class AssumedRole(Struct, frozen=True):
    """The requested role. `trust` is None when the role does not exist."""

    arn: str
    account: str
    trust: NamedPolicy | None = None
    bindings: Mapping[str, str] | None = None
    tags: Tags = ()


class Side(NamedTuple):
    """One account's decision on an admission.

    `statements` apply according to their conditions; `where` holds the context keys of the role, in addition to the
    request's.
    """

    layers: Layers
    where: Mapping[str, Value]
    statements: tuple[Statement, ...]


class Admission(Struct, frozen=True):
    """The decision, with the data that explains it. `owner` is the account whose policies decided.

    `sides`: for an admission, all decisions that had to allow, for each action. `explanation`: of a refusal, in its JSON
    form, if it was made together with the decision; `layers` are then empty.
    """

    decision: Decision
    query: AccessQuery
    layers: Layers
    owner: str
    sides: tuple[Side, ...] = ()
    explanation: Mapping[str, Any] | None = None


def admit(
    principal: PrincipalFacts, policies: CallerPolicies, target: AssumedRole, actions: tuple[str, ...], context: Context
) -> Admission:
    """The first refusal; otherwise the admission to the first of `actions`, by the side that owns the role."""
    admitted: Admission | None = None
    sides: tuple[Side, ...] = ()
    for action in actions:
        last: Admission | None = None
        for last in _sides(principal, policies, target, action, context):
            if not last.decision.allowed:
                return last
            sides += last.sides
        admitted = admitted or last
    if admitted is None:
        raise ValueError("an assumption takes at least one permission")
    return replace(admitted, sides=sides)


def _sides(
    principal: PrincipalFacts, policies: CallerPolicies, target: AssumedRole, action: str, context: Context
) -> Iterator[Admission]:
    """The decisions that must all allow, in order."""
    ask = partial(_decide, principal, action, target.arn, context)
    whole = resource_context(target.account, target.tags)
    if principal.account == target.account or policies.identity is None:
        same_account = principal.account == target.account
        layers = policies.layers(same_account=same_account, resource=target.trust, bindings=target.bindings)
        yield ask(layers, whole, target.account)
    else:
        yield ask(policies.layers(same_account=True), resource_context(target.account), principal.account)
        trusting = Layers(same_account=False, identity=None, resource=target.trust, bindings=target.bindings)
        yield ask(trusting, whole, target.account)
    if target.trust is None:  # independent of the policies: the role does not exist
        query = AccessQuery(principal, action, target.arn, merged(context, resource_context(target.account)))
        yield Admission(
            Decision(False, Layer.RESOURCE), query, Layers(same_account=False, identity=None), target.account
        )


def _decide(
    principal: PrincipalFacts,
    action: str,
    resource: str,
    context: Context,
    layers: Layers,
    where: Mapping[str, Value],
    owner: str,
) -> Admission:
    query = AccessQuery(principal, action, resource, merged(context, where))
    decision, statements = decide(query, layers)
    return Admission(decision, query, layers, owner, (Side(layers, where, statements),))


# --- What an account's settings let every one of its users do, as an identity policy of each user


NAME: Final = "account password policy"
"""The policy's name in explanations. Names of inline and managed policies have no spaces."""

_TEXT: Final = """{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": "iam:ChangePassword",
      "Resource": ["arn:aws:iam::*:user/${aws:username}", "arn:aws:iam::*:user/*/${aws:username}"]
    },
    {"Effect": "Allow", "Action": "iam:GetAccountPasswordPolicy", "Resource": "*"}
  ]
}"""


def of_every_user(passwords: PasswordPolicy | None) -> tuple[NamedPolicy, ...]:
    """The policies that each user of the account has because of its password policy (None: it has none)."""
    return (_own_password(),) if passwords is not None and passwords.users_may_change else ()


@cache
def _own_password() -> NamedPolicy:
    return NamedPolicy(NAME, compile_stored(_TEXT, PolicyKind.IDENTITY))


# --- Creates a tight trust policy for a token issuer from its preset and the parameters of the subject


ACTION = "sts:AssumeRoleWithWebIdentity"
_WILD = frozenset("*?")


class TemplateError(ValueError):
    """Parameters that do not give a tight policy. The message is for people."""


@dataclass(frozen=True, slots=True)
class TrustTemplate:
    """A policy, and the tokens that it trusts."""

    document: Mapping[str, Any]  # the policy, as JSON values
    url: str  # the provider's URL, without `https://`
    audience: str  # the required audience of tokens
    subject: str  # the pattern of `sub`
    like: bool  # whether `*` in it is a wildcard
    admits: str = ""  # jobs that it also admits unexpectedly; "" when there are none


def trust_policy(
    preset: Preset, account: str, parameters: Mapping[str, str], *, tenant: str = "", audience: str = ""
) -> TrustTemplate:
    """The trust policy of a role of `account` for the subject with these `parameters`.

    Args:
        tenant: the customer, for presets with an issuer per customer.
        audience: replaces the preset's.

    Raises TemplateError for parameters that fit no form of subject, or that contain wildcards which would widen it.
    """
    if bool(tenant) is not bool(preset.tenant):
        needed = f"needs the tenant: {preset.tenant}" if preset.tenant else "has one issuer for all; it takes no tenant"
        raise TemplateError(f"{preset.title} {needed}.")
    form = _form(preset, parameters)
    if tenant:
        _checked("tenant", tenant)
    values = {name: _checked(name, value) for name, value in parameters.items()}
    for name in preset.paths:
        owner, _, rest = values.get(name, "owner/name").partition("/")
        if not owner or not rest:
            raise TemplateError(f"--{name} is OWNER/NAME: {values[name]} alone matches no token.")
    subject = form.sub.format(tenant=tenant, **values)
    url = preset.url(tenant)
    audience = audience or preset.audience.format(tenant=tenant)
    if not audience:
        raise TemplateError(f"{preset.title} has no audience of its own: give the client id. {preset.note}".rstrip())
    operator = "StringLike" if form.like else "StringEquals"
    whom_for = "oaud" if preset.authorized_party else "aud"
    condition: dict[str, dict[str, str]] = {"StringEquals": {f"{url}:{whom_for}": audience}}
    condition.setdefault(operator, {})[f"{url}:sub"] = subject
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{account}:oidc-provider/{url}"},
        "Action": ACTION,
        "Condition": condition,
    }
    document = {"Version": "2012-10-17", "Statement": [statement]}
    return TrustTemplate(document, url, audience, subject, form.like, form.admits)


def _form(preset: Preset, parameters: Mapping[str, str]) -> SubjectForm:
    for form in preset.forms:
        if set(form.parameters) == set(parameters):
            return form
    ways = " | ".join(" ".join(map(_option, form.parameters)) for form in preset.forms)
    if any(set(form.parameters) < set(parameters) for form in preset.forms):
        both = ", ".join(map(_option, parameters))
        raise TemplateError(f"No token of {preset.title} has all of {both} in its subject. Use one of: {ways}.")
    missing = {
        _option(name): None
        for form in preset.forms
        if set(parameters) < set(form.parameters)
        for name in form.parameters
        if name not in parameters and name != PULL_REQUESTS
    }
    add = f"Add {_any_of(list(missing))}. " if parameters and missing else ""
    raise TemplateError(
        f"{preset.title} needs to know which jobs or principals may assume the role. {add}Use one of: {ways}."
    )


def _option(name: str) -> str:
    return f"--{name}"


def _any_of(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _checked(name: str, value: str) -> str:
    """A parameter as part of a subject. A wildcard or a variable would match other subjects too."""
    if not value or not value.isprintable() or "${" in value:
        raise TemplateError(f"--{name} is not a plain text.")
    if _WILD & set(value):
        raise TemplateError(f"--{name} must be given in full: * and ? would match others.")
    return value
