"""Creates a tight trust policy for a token issuer from its preset and the parameters of the subject.

Pure. The linter has no findings about its policies. A subject must be given in full: an omitted parameter never widens
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daypass.domain.presets import PULL_REQUESTS, Preset, SubjectForm

ACTION = "sts:AssumeRoleWithWebIdentity"
_WILD = frozenset("*?")


class TemplateError(ValueError):
    """Parameters that do not give a tight policy. The message is for people."""


@dataclass(frozen=True, slots=True)
class TrustTemplate:
    """A policy, and the tokens that it trusts.

    Attributes:
        document: the policy, as JSON values.
        url: the provider's URL, without `https://`.
        audience: the required audience of tokens.
        subject: the pattern of `sub`.
        like: whether `*` in it is a wildcard.
        admits: jobs that it also admits unexpectedly; "" when there are none.
    """

    document: Mapping[str, Any]
    url: str
    audience: str
    subject: str
    like: bool
    admits: str = ""


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
