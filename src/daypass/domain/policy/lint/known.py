"""The context keys that there are, and what the linter may take for granted about them.

Sources: the AWS pages "AWS global condition context keys", "IAM and AWS STS condition context keys", and design of the
`daypass:` keys. Folded; a key that ends in `/` stands for a family.
"""

from __future__ import annotations

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
_OURS = "approved approvercount authmethod chaindepth grantid keybound oncall riskscore ticketid"

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
)
PREFIXES: Final = frozenset({"aws", "sts", "iam", "saml", "daypass"})
"""The namespaces whose keys are all known here; any other belongs to the user's own services."""

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
"""Keys of which an empty set is as good as a listed one: ForAllValues alone is what AWS recommends for them."""

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
"""Keys that say who is calling, and so can take back a principal that says too little."""


def is_known(key: str) -> bool:
    """Whether a folded key exists, or may (it is of somebody else's namespace)."""
    prefix = key.partition(":")[0]
    if prefix not in PREFIXES:
        return True
    return key in KNOWN or any(key.startswith(family) and len(key) > len(family) for family in FAMILIES)
