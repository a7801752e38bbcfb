"""Who and what there is in an installation that is fuzzed: principals of every kind with keys, and names of everything."""

from __future__ import annotations

import base64
from itertools import count

from tests.attack.installation import ALPHA, BETA, EVERYTHING, ROOT, ROOT_OF_BETA, Installation, Key, document, trust
from tests.attack.tokens import provider, trust_in
from tests.issuer import Issuer
from tests.saml_idp import AWS_ACS, Response, metadata

from daypass.domain.totp import code_at, step_at

WORDS = ["alice", "alice2", "Bob", "ops", "team", "x", "a/b", "/", "/eng/", "v1", "v2", "acme-77", "Active", "aws:x"]
Names = dict[str, list[str]]
_PASSWORDS = ["correct horse Battery 9", "another Horse battery 7"]
_numbers = count()


def cast(site: Installation, season: int) -> tuple[list[Key], Names]:
    """New principals of every kind, and the names of everything that they may name. A season's calls wear them out."""
    n = f"-{season}"
    arn, alice = site.user(f"alice{n}", policy=EVERYTHING)
    _, bob = site.user(f"Bob{n}")
    roles = [
        site.role(f"ops{n}", trust(ALPHA), policy=EVERYTHING),
        site.role(f"far{n}", trust(arn), ROOT_OF_BETA, EVERYTHING),
    ]
    site.iam("CreateGroup", GroupName=f"team{n}")
    site.iam("PutGroupPolicy", GroupName=f"team{n}", PolicyName="p", PolicyDocument=EVERYTHING)
    policy = site.iam("CreatePolicy", PolicyName=f"own{n}", PolicyDocument=EVERYTHING).text("Arn")
    site.iam("CreatePolicyVersion", PolicyArn=policy, PolicyDocument=EVERYTHING)
    session = site.assume(alice, roles[0])
    tag = {"Tags.member.1.Key": "a", "Tags.member.1.Value": "b", "TransitiveTagKeys.member.1": "a"}
    narrowed = site.assume(alice, roles[0], Policy=EVERYTHING, SourceIdentity="acme", **tag)
    token = site.call(alice, "GetSessionToken")
    federated = site.call(alice, "GetFederationToken", {"Name": "eve", "Policy": EVERYTHING})
    denied = site.call(bob, "ListUsers", service="iam")
    keys = [ROOT, ROOT, alice, alice, bob, session.key, narrowed.key, token.key, federated.key, ROOT_OF_BETA]
    alices = [f"alice{n}"] * 3
    names = {
        "UserName": [*alices, f"Bob{n}", f"new{n}"],
        "NewUserName": [f"alice2{n}", f"Bob{n}", f"bOB{n}"],
        "RoleName": [f"ops{n}", f"ops{n}", f"far{n}", f"new{n}"],
        "GroupName": [f"team{n}", f"team{n}", f"team2{n}"],
        "NewGroupName": [f"team{n}", f"team2{n}"],
        "PolicyName": ["p", "p", f"own{n}"],
        "RoleArn": [*roles, f"arn:aws:iam::{BETA}:role/none"],
        "PolicyArn": [policy, policy, "arn:aws:iam::aws:policy/AdministratorAccess", f"{policy}x"],
        "PermissionsBoundary": [policy, "arn:aws:iam::aws:policy/ReadOnlyAccess"],
        "arn": [policy, "arn:aws:iam::aws:policy/AdministratorAccess"],
        "Arn": [arn, roles[0], policy],
        "AccessKeyId": [bob[0], alice[0], session.key[0], "AKIANOBODYNOBODY0000"],
        "EncodedMessage": [denied.text("EncodedAuthorizationMessage"), "A" * 60],
        "RoleSessionName": ["job", "a_b=,.@-"],
        "Name": [f"eve{n}", f"mallory{n}"],
        "SourceIdentity": ["acme", "other"],
        "Path": ["/", "/eng/"],
        "PathPrefix": ["/", "/eng/"],
        "NewPath": ["/", "/eng/"],
        "Marker": ["AAAA", "alice"],
        "Key": ["a", "A", "b", "c"],
        "TagKeys": ["a", "b"],
        "TransitiveTagKeys": ["a", "b"],
        "VersionId": ["v1", "v2", "v3"],
        "PolicySourceArn": [arn, roles[0], f"arn:aws:iam::{ALPHA}:group/team{n}"],
        "ActionNames": ["iam:ListUsers", "orders:Read"],
        "ResourceArns": ["*", policy],
        "PolicyInputList": [EVERYTHING],
        "CallerArn": [arn, roles[0]],
        "AccountAlias": ["acme-77", "acme-78"],
        "ServiceNamespaces": ["iam", "sts"],
        "ServiceNamespace": ["iam", "sts"],
        "JobId": [site.iam("GenerateServiceLastAccessedDetails", Arn=arn).text("JobId"), "0" * 36],
        "": WORDS,
    }
    for more in (_instance_profile(site, n), _passwords(site, n), _devices(site, n), _tokens(site, n), _saml(site, n)):
        names |= {name: [*names.get(name, ()), *values] for name, values in more.items()}
    return keys, names


def _instance_profile(site: Installation, n: str) -> Names:
    site.iam("CreateInstanceProfile", InstanceProfileName=f"box{n}")
    site.iam("CreateInstanceProfile", InstanceProfileName=f"full{n}")
    site.iam("AddRoleToInstanceProfile", InstanceProfileName=f"full{n}", RoleName=f"ops{n}")
    return {"InstanceProfileName": [f"box{n}", f"full{n}", f"box2{n}"]}


def _passwords(site: Installation, n: str) -> Names:
    site.call(ROOT, "DeleteAccountPasswordPolicy", service="iam")  # another season's may ask for more
    site.iam("CreateLoginProfile", UserName=f"alice{n}", Password=_PASSWORDS[0])
    return {"Password": _PASSWORDS, "NewPassword": _PASSWORDS, "OldPassword": _PASSWORDS[:1]}


def _devices(site: Installation, n: str) -> Names:
    """A device that alice has, and one that nobody has yet, with codes of both that follow one another."""
    serials, firsts, seconds = [], [], []
    for name in ("hers", "spare"):
        made = site.iam("CreateVirtualMFADevice", VirtualMFADeviceName=f"{name}{n}")
        seed = base64.b32decode(base64.b64decode(made.text("Base32StringSeed")))
        step = step_at(site.now())
        serials.append(made.text("SerialNumber"))
        if name == "hers":
            codes = {f"AuthenticationCode{at}": code_at(seed, step - 3 + at) for at in (1, 2)}
            site.iam("EnableMFADevice", UserName=f"alice{n}", SerialNumber=serials[0], **codes)
        firsts.append(code_at(seed, step))
        seconds.append(code_at(seed, step + 1))
    return {
        "SerialNumber": serials,
        "VirtualMFADeviceName": [f"hers{n}", f"third{n}"],
        "AuthenticationCode1": firsts,
        "AuthenticationCode2": seconds,
        "TokenCode": [*firsts, *seconds],
    }


def _tokens(site: Installation, n: str) -> Names:
    """An issuer, tokens of it, and a role that they may have."""
    issuer = Issuer(f"idp{n}.example.com", "ES256")
    arn = provider(site, issuer).arn
    role = site.role(f"job{n}", trust_in(arn, StringEquals={f"{issuer.url}:aud": issuer.audience}))
    tokens = [issuer.token(site.now(), sub="ann"), issuer.token(site.now(), exp=1)]
    return {
        "RoleArn": [role, role],
        "WebIdentityToken": [tokens[0], *tokens],
        "ProviderId": ["www.amazon.com"],
        "OpenIDConnectProviderArn": [arn, f"{arn}x"],
        "Url": [f"https://other{n}.example.com", f"https://third{n}.example.com/x"],
        "ClientIDList": ["app", "daypass"],
        "ClientID": ["app", "daypass"],
        "ThumbprintList": ["a" * 40, "b" * 40],
    }


def _saml(site: Installation, n: str) -> Names:
    """An identity provider of SAML, its assertions, each good for one session, and a role that they may have."""
    issuer = f"https://saml{n}.example.com"
    described = metadata(issuer=issuer)
    arn = site.iam("CreateSAMLProvider", Name=f"saml{n}", SAMLMetadataDocument=described).text("SAMLProviderArn")
    condition = {"StringEquals": {"saml:aud": AWS_ACS}}
    statement = {"Principal": {"Federated": arn}, "Action": "sts:AssumeRoleWithSAML", "Condition": condition}
    role = site.role(f"person{n}", document(statement))
    made = [
        Response(
            [f"{role},{arn}"], issuer=issuer, now=site.now(), assertion_id=f"_a{number}", response_id=f"_r{number}"
        )
        for number in (next(_numbers) for _ in range(3))
    ]
    return {
        "RoleArn": [role, role],
        "PrincipalArn": [arn, arn, f"{arn}x"],
        "SAMLAssertion": [response.encoded() for response in made],
        "SAMLProviderArn": [arn, f"{arn}x"],
        "SAMLMetadataDocument": [described, described[:-9]],
    }
