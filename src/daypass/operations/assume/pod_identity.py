"""EKS Pod Identity: the agent of a node gets a session for a pod, whose token a provider of the account has signed.

An association gives a service account its role; the node needs eks-auth:AssumeRoleForPodIdentity on the cluster, and the role
must trust the service. A token never chooses its role or its cluster.
Source: Amazon EKS User Guide, "EKS Pod Identity"; eks-auth API, AssumeRoleForPodIdentity.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.claims import Proof
from daypass.domain.directory import OidcProvider, PodIdentityAssociation, Tags
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.domain.provider_settings import url_of
from daypass.operations.assume.applicant import proven_applicant, snapshot
from daypass.operations.assume.assume import assume
from daypass.operations.assume.forms import Form
from daypass.operations.assume.issue import Issued
from daypass.operations.assume.proofs import owned, verified_proof
from daypass.operations.assume.request import AssumeRequest, SessionRequest, requested_role
from daypass.operations.authenticate import authenticated_again
from daypass.operations.authorize import authorize
from daypass.operations.crud import Collection
from daypass.operations.management import InAws, allow
from daypass.operations.principals import find_current
from daypass.ports import Call, Env, Tx

C = TypeVar("C")

EKS_AUTH: Final = "eks-auth"
SERVICE: Final = "pods.eks.amazonaws.com"
"""The principal in trust policies, and the audience of tokens."""
_KIND: Final = "pod-identity-association"
ASSOCIATIONS: Final = Collection(
    PodIdentityAssociation, "PodIdentityAssociation", _KIND, "pod identity association", 5_000, key="subject"
)
_SUBJECT = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}/[a-z0-9-]{1,63}/[a-z0-9.-]{1,253}")
_SERVICE_ACCOUNT = re.compile(r"system:serviceaccount:([a-z0-9-]{1,63}):([a-z0-9.-]{1,253})")
_NOT_IN_NAMES = re.compile(r"[^\w+=,.@-]", re.ASCII)


class PodSession(Struct, Generic[C], frozen=True):
    """A session, and the association that gave it."""

    issued: Issued[C]
    association: PodIdentityAssociation


async def create_association(
    env: Env, call: Call, subject: str, role: str, issuer: str, account: str = ""
) -> PodIdentityAssociation:
    """daypass:CreatePodIdentityAssociation, with iam:PassRole on the role.

    Raises DaypassError: ACCESS_DENIED, VALIDATION, NOT_FOUND (no such provider), ALREADY_EXISTS, LIMIT_EXCEEDED.
    """
    owner = account or call.caller.account
    role_arn = role if role.startswith("arn:") else f"arn:aws:iam::{owner}:role/{role}"
    decision = await allow(env, call, "CreatePodIdentityAssociation", _KIND, subject, owner, in_aws=InAws(role_arn))
    if not _SUBJECT.fullmatch(subject):
        raise DaypassError(ErrorKind.VALIDATION, "A subject is of the form CLUSTER/NAMESPACE/SERVICE-ACCOUNT.")
    if requested_role(role_arn).account != owner:
        raise DaypassError(ErrorKind.VALIDATION, "The role must be one of the account of the association.")
    url = url_of(issuer)
    made = PodIdentityAssociation(owner, subject, f"a-{env.ids.seed().hex()[:17]}", role_arn, url, call.now)

    def change(tx: Tx) -> tuple[PodIdentityAssociation, Event]:
        if tx.get(OidcProvider, account=owner, url=url) is None:
            raise DaypassError(ErrorKind.NOT_FOUND, f"The account has no OpenID Connect provider {url[:255]}.")
        if tx.get(PodIdentityAssociation, account=owner, subject=subject) is not None:
            raise DaypassError(ErrorKind.ALREADY_EXISTS, f"{subject} has an association already.")
        ASSOCIATIONS.put(tx, None, made)
        return made, ASSOCIATIONS.changed(call, made, decision, role=role_arn, issuer=url)

    return await env.journal.write(change, account=call.caller.account)


async def assume_role_for_pod_identity(
    env: Env, call: Call, cluster: str, unverified_token: str, form: Form[C]
) -> PodSession[C]:
    """AssumeRoleForPodIdentity (eks-auth API) of the caller's account.

    Raises DaypassError: ACCESS_DENIED, INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, NOT_FOUND, and what `assume` raises.
    """
    account = call.caller.account
    cluster_arn = f"arn:aws:eks:{call.facts.region}:{account}:cluster/{cluster}"
    await authorize(env, call, "eks-auth:AssumeRoleForPodIdentity", cluster_arn)
    start = snapshot(env)
    try:
        proof = await verified_proof(env, account, unverified_token, start.now)
        await authorize(
            env, call, "eks-auth:AssumeRoleForPodIdentity", cluster_arn
        )  # keys may have been fetched for long
        namespace, name = _service_account(proof)
        subject = f"{cluster}/{namespace}/{name}"
        association = await find_current(env, lambda: env.directory.entity(PodIdentityAssociation, account, subject))
        if association is None or proof.provider != f"arn:aws:iam::{account}:oidc-provider/{association.issuer}":
            message = f"No association gives the service account {namespace}/{name} of cluster {cluster} a role."
            raise DaypassError(ErrorKind.NOT_FOUND, message, private={"provider": proof.provider})
    except DaypassError as error:
        raise owned(error, account) from None
    pod = _claim(proof, association.issuer, "pod/name")
    tags = _tags(proof, association, cluster_arn)
    session = SessionRequest(
        name=_NOT_IN_NAMES.sub("-", f"eks-{cluster}-{pod or name}")[:64],
        tags=tags,
        transitive_keys=tuple(key for key, _ in tags),
    )
    of_service = replace(
        proof,
        service=SERVICE,
        tags=tags,
        keys={
            "aws:sourcearn": cluster_arn,
            "aws:sourceaccount": account,
            "aws:principalisawsservice": "true",
            "aws:principalservicename": SERVICE,
        },
        source_identity="",
        record={**proof.record, "association": association.id, "node": call.caller.arn},
    )
    request = AssumeRequest(association.role_arn, session)
    applicant = proven_applicant(call, of_service, start)
    applicant = replace(applicant, again=(*applicant.again, partial(authenticated_again, caller=call.caller)))
    return PodSession(await assume(env, applicant, request, form), association)


def _service_account(proof: Proof) -> tuple[str, str]:
    """Namespace and name from a token for this service. Raises DaypassError(INVALID_IDENTITY_TOKEN)."""
    found = _SERVICE_ACCOUNT.fullmatch(proof.subject)
    if found is None or proof.audience != SERVICE:
        message = f"The token is not one of a Kubernetes service account for the audience {SERVICE}."
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, message)
    return found[1], found[2]


def _claim(proof: Proof, url: str, name: str) -> str:
    value = proof.keys.get(f"{url}:kubernetes.io/{name}", "")
    return value if isinstance(value, str) else ""


def _tags(proof: Proof, association: PodIdentityAssociation, cluster_arn: str) -> Tags:
    """The session tags of AWS, without those of which the token says nothing."""
    cluster, namespace, name = association.subject.split("/")
    values = {
        "eks-cluster-arn": cluster_arn,
        "eks-cluster-name": cluster,
        "kubernetes-namespace": namespace,
        "kubernetes-service-account": name,
        "kubernetes-pod-name": _claim(proof, association.issuer, "pod/name"),
        "kubernetes-pod-uid": _claim(proof, association.issuer, "pod/uid"),
    }
    return tuple((key, value) for key, value in values.items() if value)
