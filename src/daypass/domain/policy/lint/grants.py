"""Excessive grants of identity policies: everything, nearly everything, or a way to gain more permissions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from daypass.domain.policy.compiled import PolicyDocument, Statement
from daypass.domain.policy.lint.finding import LintFinding, at_statement
from daypass.domain.policy.model import Effect
from daypass.domain.policy.pattern import fold

_PROBE: Final = "any-resource-at-all-0123456789"
_USER: Final = f"user/{_PROBE}"
_ROLE: Final = f"role/{_PROBE}"
_GROUP: Final = f"group/{_PROBE}"
_POLICY: Final = f"policy/{_PROBE}"

ESCALATIONS: Final[dict[str, tuple[str, str]]] = {
    "iam:CreateAccessKey": (_USER, "make keys for any user"),
    "iam:CreateLoginProfile": (_USER, "give any user a password"),
    "iam:UpdateLoginProfile": (_USER, "change any user's password"),
    "iam:AttachUserPolicy": (_USER, "attach any policy to any user"),
    "iam:AttachRolePolicy": (_ROLE, "attach any policy to any role"),
    "iam:AttachGroupPolicy": (_GROUP, "attach any policy to any group"),
    "iam:PutUserPolicy": (_USER, "write a policy for any user"),
    "iam:PutRolePolicy": (_ROLE, "write a policy for any role"),
    "iam:PutGroupPolicy": (_GROUP, "write a policy for any group"),
    "iam:AddUserToGroup": (_GROUP, "join any group"),
    "iam:CreatePolicyVersion": (_POLICY, "rewrite any managed policy"),
    "iam:SetDefaultPolicyVersion": (_POLICY, "put any version of a managed policy in force"),
    "iam:UpdateAssumeRolePolicy": (_ROLE, "open any role to anyone"),
    "iam:DeleteRolePermissionsBoundary": (_ROLE, "lift any role's boundary"),
    "iam:DeleteUserPermissionsBoundary": (_USER, "lift any user's boundary"),
    "iam:PassRole": (_ROLE, "hand any role to a service"),
    "sts:AssumeRole": (_ROLE, "assume any role that trusts the account"),
}
"""Action to the resource on which it is dangerous when unrestricted, and what its holder can then do."""

_BOUNDED_BY = (
    "iam:permissionsboundary",
    "iam:passedtoservice",
    "iam:policyarn",
    "iam:resourcetag/",
    "aws:resourcetag/",
)
"""Conditions on these keys restrict the entities or policies. The rest is left to the author's judgement."""


def check(document: PolicyDocument, account: str) -> Iterator[LintFinding]:
    """The findings about the grants of Allow statements."""
    for statement in document.statements:
        if statement.effect is not Effect.ALLOW:
            continue
        if _everything(statement):
            yield at_statement(
                "grant-everything",
                statement,
                "Every action on every resource is allowed.",
                "Name the actions and resources that are needed, or bound it by a permissions boundary.",
            )
            continue
        if statement.not_action or statement.not_resource:
            element = "NotAction" if statement.not_action else "NotResource"
            yield at_statement(
                "grant-by-exclusion",
                statement,
                f"Allow with {element} allows everything that it does not name, also what comes to exist later.",
                "Name what is allowed, and use a Deny statement for the exceptions.",
            )
        ways = tuple(escalations(statement, account))
        if ways:
            shown = "; ".join(f"{action}: {ESCALATIONS[action][1]}" for action in ways[:6])
            yield at_statement(
                "grant-escalation",
                statement,
                f"Whoever has this can take further permissions ({shown}{'; …' if len(ways) > 6 else ''}).",
                "Name the users, roles or policies, or demand iam:PermissionsBoundary, iam:PolicyARN or "
                "iam:PassedToService in a condition.",
            )


def _everything(statement: Statement) -> bool:
    return (
        not (statement.not_action or statement.not_resource or statement.conditions)
        and statement.actions.anything
        and statement.resources is not None
        and statement.resources.anything
    )


def escalations(statement: Statement, account: str) -> Iterator[str]:
    """The actions of an Allow by which its holder can gain more permissions, on any user, role or policy."""
    if any(condition.key.startswith(_BOUNDED_BY) for condition in statement.conditions):
        return
    for action, (resource, _) in ESCALATIONS.items():
        if statement.actions.matches(fold(action), {}) is statement.not_action:
            continue
        arn = f"arn:aws:iam::{account or '111122223333'}:{resource}"
        if statement.resources is not None and statement.resources.matches(arn, {}) is statement.not_resource:
            continue
        yield action


def powerful(documents: Iterable[PolicyDocument], account: str) -> bool:
    """Whether the policies allow everything, or allow their holder to gain any permission."""
    return any(
        _everything(statement) or any(escalations(statement, account))
        for document in documents
        for statement in document.statements
        if statement.effect is Effect.ALLOW
    )


# --- The known context keys, and what the linter assumes about them


_GLOBAL = (
    "calledvia calledviafirst calledvialast chatbotsourcearn currenttime ec2instancesourceprivateipv4 "
    "ec2instancesourcevpc epochtime federatedprovider multifactorauthage multifactorauthpresent principalaccount "
    "principalarn principalisawsservice principalorgid principalorgpaths principalservicename principalservicenameslist "
    "principaltype referer requestedregion resourceaccount resourceorgid resourceorgpaths securetransport sourceaccount "
    "sourcearn sourceidentity sourceip sourceorgid sourceorgpaths sourceowner sourcevpc sourcevpcarn sourcevpce tagkeys "
    "tokenissuetime useragent userid username viaawsservice vpceaccount vpceorgid vpceorgpaths vpcsourceip assumedroot "
    "signinsessionarn isMcpServiceAction"
).lower()
_STS = (
    "awsservicename durationseconds externalid requestcontext/ requestcontextproviders rolesessionname sourceidentity "
    "taskpolicyarn transitivetagkeys identitytokenaudience signingalgorithm"
)
_IAM = (
    "awsservicename associatedresourcearn fido-certification fido-fips-140-2-certification "
    "organizationspolicyid passedtoservice permissionsboundary policyarn registersecuritykey resourcetag/ "
    "servicespecificcredentialagedays servicespecificcredentialservicename delegationduration delegationrequestowner "
    "notificationchannel templatearn"
)
_SAML = (
    "aud commonname cn doc edupersonaffiliation edupersonassurance edupersonentitlement edupersonnickname "
    "edupersonorgdn edupersonorgunitdn edupersonprimaryaffiliation edupersonprimaryorgunitdn edupersonprincipalname "
    "edupersonscopedaffiliation edupersontargetedid eduorghomepageuri eduorgidentityauthnpolicyuri eduorglegalname "
    "eduorgsuperioruri eduorgwhitepagesuri givenname iss mail name namequalifier organizationstatus "
    "primarygroupsid sub sub_type surname uid x500uniqueidentifier"
)
_OURS = "actorarn actorid amr approved approvercount audience authmethod authtime certificateseconds chaindepth clientid grantid keybound oncall riskscore scope sshextension sshforcecommand sshsourceaddress ticketid"

KNOWN: Final = frozenset(
    f"{prefix}:{name}"
    for prefix, names in (("aws", _GLOBAL), ("sts", _STS), ("iam", _IAM), ("saml", _SAML), ("daypass", _OURS))
    for name in names.split()
)
FAMILIES: Final = (
    "aws:principaltag/",
    "aws:requesttag/",
    "aws:resourcetag/",
    "iam:resourcetag/",
    "sts:requestcontext/",
    "daypass:subjectproperty/",
    "daypass:actionproperty/",
    "daypass:requestcontext/",
)
PREFIXES: Final = frozenset({"aws", "sts", "iam", "saml", "daypass"})
"""The namespaces whose keys are all known here. Any other namespace belongs to the user's own services."""

ALWAYS_PRESENT: Final = frozenset(
    {
        "aws:currenttime",
        "aws:epochtime",
        "aws:securetransport",
        "aws:principalisawsservice",
        "aws:viaawsservice",
        "daypass:authmethod",
        "daypass:chaindepth",
    }
)
OFTEN_EMPTY: Final = frozenset({"aws:tagkeys", "sts:transitivetagkeys"})
"""Keys for which an empty set is as good as a listed value: AWS recommends ForAllValues alone for them."""

WHO: Final = frozenset(
    {
        "aws:principalarn",
        "aws:principalaccount",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:userid",
        "aws:username",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceorgid",
    }
)
"""Keys that identify the caller, and so can restrict a principal that is too broad."""


def is_known(key: str) -> bool:
    """Whether a folded key exists, or may exist because its namespace is not known here."""
    prefix = key.partition(":")[0]
    if prefix not in PREFIXES:
        return True
    return key in KNOWN or any(key.startswith(family) and len(key) > len(family) for family in FAMILIES)


# --- What the linter knows of a document's environment


@dataclass(frozen=True, slots=True)
class Facts:
    """The environment of one document.

    Attributes:
        account: its owner, "" when unknown.
        accounts: accounts that are not third parties: those of the same installation.
        providers: the issuers (without `https://`) that the account has, None when unknown.
        powerful: for a trust policy: whether the role's policies allow everything, or allow it to gain more
            permissions.
        max_session_seconds: for a trust policy: the longest session of the role, 0 when unknown.
    """

    account: str = ""
    accounts: frozenset[str] = frozenset()
    providers: frozenset[str] | None = None
    powerful: bool = False
    max_session_seconds: int = 0
