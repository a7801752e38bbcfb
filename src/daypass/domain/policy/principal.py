"""Principal and NotPrincipal, and the form of Resource elements: which principals a statement of a resource policy matches, and the scope of its grant.

Names are compared whole; the only wildcard is a single `*`. The ARN of a user or role matches only the entity that it
was bound to when the policy was written, never a later one with the same name (attack A55).
Source: IAM User Guide, "AWS JSON policy elements: Principal", "AWS JSON policy elements: NotPrincipal",
"Policy evaluation logic".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from daypass.domain.arn import PARTITIONS, is_account_id, is_session_arn
from daypass.domain.claims import PrincipalKind
from daypass.domain.policy.model import PrincipalFacts
from daypass.domain.policy.pattern import replace_braces, tokenize


class GrantScope(IntEnum):
    """Which implicit denies of the caller's own policies a same-account grant overrides. Each value includes those before it."""

    NONE = 0  # no match
    ACCOUNT = 1  # the account matches: it delegates, and the identity's own policies decide
    ENTITY = 2  # a role, or the user of a federated session: boundary and session policies still limit
    USER = 3  # a user: the boundary does not limit
    DIRECT = 4  # the session itself, or everyone: session policies do not limit


_NONE, _ACCOUNT, _ENTITY, _USER, _DIRECT = GrantScope  # bound once: before Python 3.12 a look-up runs Python code
_KIND_USER = PrincipalKind.USER.value

_NAME = r"[\w+=,.@/-]+"
_IAM = re.compile(rf"(?:root|user/{_NAME}|role/{_NAME})", re.ASCII)
_STS = re.compile(r"(?:assumed-role/[\w+=,.@-]+/[\w+=,.@-]+|federated-user/[\w+=,.@-]+)", re.ASCII)
_UNIQUE_ID = re.compile(r"A(?:IDA|ROA)[A-Z0-9]{12,124}")
_PROVIDER = re.compile(r"(?:saml-provider/[\w.-]+|oidc-provider/[\w.:/~%-]+)", re.ASCII)
_CLIENT = re.compile(r"client/[A-Z0-9]{21}")  # an OAuth client of Daypass
_DOMAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?(?:/[\w.:/~%-]*)?", re.ASCII)
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)+")
_CANONICAL = re.compile(r"[0-9a-f]{64}")
_RESOURCES = {"iam": _IAM, "sts": _STS}
_FEDERATED = {"iam": _PROVIDER, "daypass": _CLIENT}


def _iam_fields(value: str) -> tuple[str, str] | None:
    """(service, resource) of an ARN with an account and no region; None for any other."""
    fields = value.split(":", 5)
    if len(fields) != 6 or fields[0] != "arn" or fields[1] not in PARTITIONS or fields[3]:
        return None
    return (fields[2], fields[5]) if is_account_id(fields[4]) else None


def is_unique_id(value: str) -> bool:
    """Whether a principal is named by the unique id of a user or role."""
    return _UNIQUE_ID.fullmatch(value) is not None


def _is_aws(value: str) -> bool:
    if value == "*" or is_account_id(value) or is_unique_id(value):
        return True
    fields = _iam_fields(value)
    return fields is not None and fields[0] in _RESOURCES and _RESOURCES[fields[0]].fullmatch(fields[1]) is not None


def _is_federated(value: str) -> bool:
    if value.startswith("arn:"):
        fields = _iam_fields(value)
        form = _FEDERATED.get(fields[0]) if fields is not None else None
        return fields is not None and form is not None and form.fullmatch(fields[1]) is not None
    return _DOMAIN.fullmatch(value) is not None


_VALID: Mapping[str, Callable[[str], object]] = {
    "AWS": _is_aws,
    "Service": _SERVICE.fullmatch,
    "CanonicalUser": _CANONICAL.fullmatch,
}
_FEDERATED_ERROR = "Federated principals must be valid domain names or SAML metadata ARNs"


def principal_refusal(kind: str, value: str) -> str | None:
    """Why AWS refuses `value` as a principal of this type (an element name); None when it accepts the value."""
    if kind == "Federated":
        return None if _is_federated(value) else _FEDERATED_ERROR
    if kind not in _VALID:
        return f'Invalid principal in policy: "{kind}"'
    return None if _VALID[kind](value) else f'Invalid principal in policy: "{kind.upper()}":"{value}"'


@dataclass(frozen=True, slots=True, eq=False)
class Principals:
    """The principals of one statement, compiled."""

    everyone: bool
    accounts: frozenset[str]  # as account id or root ARN
    names: frozenset[str]  # ARNs and unique ids of users, roles and sessions
    federated: frozenset[str]
    services: frozenset[str]
    canonical: frozenset[str]

    @classmethod
    def of(cls, entries: Iterable[tuple[str, str]]) -> Principals:
        """Compiles (type, value) pairs that `refusal` accepts."""
        by_type: dict[str, set[str]] = {"AWS": set(), "Federated": set(), "Service": set(), "CanonicalUser": set()}
        for kind, value in entries:
            by_type[kind].add(value)
        aws = by_type["AWS"]
        roots = {value for value in aws if is_account_id(value) or value.endswith(":root")}
        return cls(
            everyone="*" in aws,
            accounts=frozenset(value if is_account_id(value) else value.split(":")[4] for value in roots),
            names=frozenset(aws - roots - {"*"}),
            federated=frozenset(by_type["Federated"]),
            services=frozenset(by_type["Service"]),
            canonical=frozenset(by_type["CanonicalUser"]),
        )

    def grant_scope(self, who: PrincipalFacts, bindings: Mapping[str, str] | None) -> GrantScope:
        """The scope of a grant to these principals for `who`; NONE when they do not match `who`."""
        if self.everyone or who.federated in self.federated or who.service in self.services:
            return _DIRECT
        if self.names:
            scopes = [_scope(who.kind, arn) for arn, uid in who.arns if self._means(arn, uid, bindings)]
            scopes += [_scope(who.kind, "") for _, uid in who.arns if uid in self.names]
            if scopes:
                return max(scopes)
        if who.account in self.accounts or who.canonical_id in self.canonical:
            return _ACCOUNT
        return _NONE

    def excepts(self, who: PrincipalFacts, bindings: Mapping[str, str] | None) -> bool:
        """For NotPrincipal: whether `who` is certainly one of these.

        AWS may check the account, then the role, then the session, and denies at the first that is not listed.
        Therefore every name of `who` must be listed.
        """
        if self.everyone:
            return True
        listed = [
            uid in self.names or self._means(arn, uid, bindings) for arn, uid in who.arns if not arn.endswith(":root")
        ]
        if who.arns:
            listed.append(who.account in self.accounts or who.canonical_id in self.canonical)
        if who.federated:
            listed.append(who.federated in self.federated)
        if who.service:
            listed.append(who.service in self.services)
        return bool(listed) and all(listed)

    def _means(self, arn: str, uid: str, bindings: Mapping[str, str] | None) -> bool:
        """Whether a listed ARN matches the entity that has `arn` now: the entity must be the one bound when it was written.

        A user or role that was renamed since still matches its old ARN. A new entity with the old name does not.
        """
        listed = arn in self.names
        if bindings is None or ":federated-user/" in arn:  # a federated user is only a name; there is no entity to bind
            return listed
        if not uid:
            return False
        if listed and bindings.get(arn) == uid:
            return True
        if is_session_arn(arn) or uid not in bindings.values():
            return False
        return any(bindings.get(name) == uid and not is_session_arn(name) for name in self.names)


def _scope(kind: str, arn: str) -> GrantScope:
    if is_session_arn(arn):
        return _DIRECT
    return _USER if kind == _KIND_USER else _ENTITY


# --- The form of Resource elements: which texts AWS accepts, and how it completes a short ARN


_IAM_PATHS = (
    "user/",
    "federated-user/",
    "role/",
    "group/",
    "instance-profile/",
    "mfa/",
    "server-certificate/",
    "policy/",
    "sms-mfa/",
    "saml-provider/",
    "oidc-provider/",
    "report/",
    "access-report/",
)
_S3_REGIONAL = ("accesspoint/", "job/", "storage-lens", "access-grants/")


def fields(text: str) -> list[str]:
    """The fields of an ARN pattern, six at most. The colons of a variable are not separators."""
    parts: list[str] = []
    at = 0
    masked = replace_braces(text, lambda variable: "_" * len(variable))
    for part in masked.split(":", 5):
        parts.append(text[at : at + len(part)])
        at += len(part) + 1
    return parts


def completed(text: str) -> str:
    """The pattern with `*` for every missing field of a short ARN, as AWS completes it."""
    if text == "*" or (text.count(":") > 4 and "${" not in text):
        return text
    return text + ":*" * (6 - len(fields(text)))


def resource_refusal(text: str) -> str | None:
    """AWS's message for a text that is neither `*` nor a valid ARN; None when AWS accepts it."""
    if text == "*":
        return None
    parts = fields(text)
    if len(parts) == 1:
        return f'Resource {text} must be in ARN format or "*".'
    if parts[1] != "*" and parts[1] not in PARTITIONS:
        padded = ":".join((parts[1], *(part for part in parts[2:]), *["*"] * (6 - len(parts))))
        return f'Partition "{parts[1]}" is not valid for resource "arn:{padded}".'
    if parts[0] != "arn":
        return f'Resource {text} must be in ARN format or "*".'
    if len(parts) == 2 or "*" in parts[2] or "?" in parts[2]:
        return "Resource vendor must be fully qualified and cannot contain regexes."
    return _service_refusal(text, parts) if len(parts) == 6 else None


def _service_refusal(text: str, parts: list[str]) -> str | None:
    _, _, service, region, _, name = parts
    if service == "s3" and region and not name.startswith(_S3_REGIONAL):
        return f"Resource {text} can not contain region information."
    if service == "iam" and region:
        return f"IAM resource {text} cannot contain region information."
    if service == "iam" and name not in ("*", "root") and not name.startswith(_IAM_PATHS):
        return f'IAM resource path must either be "*", root, or start with {", ".join(_IAM_PATHS)}.'
    return None


def is_legacy(text: str, *, variables: bool) -> bool:
    """Whether AWS's older parser accepts it: it requires a service name, and accepts ARNs with empty fields and variables."""
    if text == "*":
        return True
    parts = fields(text)
    if not parts[2] or (len(parts) < 6 and "" in parts):
        return False
    try:
        tokenize(text, variables=variables, wildcards=True)
    except ValueError:
        return False
    return True
