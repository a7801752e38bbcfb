"""The known context keys, and what the linter assumes about them.

Sources: the AWS pages "AWS global condition context keys", "IAM and AWS STS condition context keys", and Daypass's own
`daypass:` keys. Keys are folded; a key that ends in `/` is a family of keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

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
