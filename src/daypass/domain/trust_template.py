"""A tight trust policy for an issuer of tokens, from its preset and what is known of the one who is meant.

Pure. What it writes the linter has nothing to say about; who is meant can only be said in full, never left open by
leaving a parameter out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daypass.domain.presets import Preset, SubjectForm

ACTION = "sts:AssumeRoleWithWebIdentity"
_WILD = frozenset("*?")


class TemplateError(ValueError):
    """Parameters from which no tight policy can be made. The message is for people."""


@dataclass(frozen=True, slots=True)
class TrustTemplate:
    """A policy, and in whose tokens it believes.

    Attributes:
        document: the policy, as JSON values.
        url: the provider's URL, without `https://`.
        audience: what tokens must be made for.
        subject: the pattern of `sub`.
        like: whether `*` in it is a wildcard.
    """

    document: Mapping[str, Any]
    url: str
    audience: str
    subject: str
    like: bool


def trust_policy(
    preset: Preset, account: str, parameters: Mapping[str, str], *, tenant: str = "", audience: str = ""
) -> TrustTemplate:
    """The trust policy of a role of `account` for the subject that `parameters` make.

    Args:
        tenant: which customer's issuer, for presets that have one for each.
        audience: in place of the preset's.

    Raises TemplateError: parameters that no form of subject takes, or that hold wildcards where they would widen it.
    """
    if bool(tenant) is not bool(preset.tenant):
        needed = f"needs the tenant: {preset.tenant}" if preset.tenant else "has one issuer for all; it takes no tenant"
        raise TemplateError(f"{preset.title} {needed}.")
    form = _form(preset, parameters)
    if tenant:
        _checked("tenant", tenant)
    values = {name: _checked(name, value) for name, value in parameters.items()}
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
    return TrustTemplate({"Version": "2012-10-17", "Statement": [statement]}, url, audience, subject, form.like)


def _form(preset: Preset, parameters: Mapping[str, str]) -> SubjectForm:
    for form in preset.forms:
        if set(form.parameters) == set(parameters):
            return form
    ways = " | ".join(" ".join(f"--{name}" for name in form.parameters) for form in preset.forms)
    raise TemplateError(f"{preset.title} needs to know whom it is for: {ways}.")


def _checked(name: str, value: str) -> str:
    """A parameter as part of a subject: a wildcard, or a variable, would mean others too."""
    if not value or not value.isprintable() or "${" in value:
        raise TemplateError(f"--{name} is not a plain text.")
    if _WILD & set(value):
        raise TemplateError(f"--{name} must be said in full: * and ? would let others in.")
    return value
