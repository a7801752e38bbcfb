"""CreateSession: the holder of a certificate assumes a role.

The caller first proves possession of the certificate's key, by a signature over the request or by its TLS connection.
Then the certificate must chain to the trust anchor, the profile must contain the role, and the role must trust the
service. The session is issued like every other. The caller never learns why a certificate is not accepted, or whether
the anchor, profile or role exists: the record of their account has the reason.
Source: IAM Roles Anywhere User Guide, "CreateSession API" and "The IAM Roles Anywhere authentication process".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace as replace_struct

from daypass import sigv4
from daypass.domain.arn import read_arn
from daypass.domain.claims import PrincipalKind, Proof
from daypass.domain.context import tag_keys
from daypass.domain.directory import TrustAnchor, X509Profile
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import SERVICE, CertificateRefused, VerifiedCertificate
from daypass.domain.policy.model import Value
from daypass.operations.assume.applicant import proven_applicant, snapshot
from daypass.operations.assume.assume import assume
from daypass.operations.assume.forms import Form
from daypass.operations.assume.issue import Issued
from daypass.operations.assume.request import AssumeRequest, RequestedRole, SessionRequest, requested_role
from daypass.operations.outcome import OWNER
from daypass.operations.principals import refresh_if_changed
from daypass.operations.rolesanywhere import context
from daypass.ports import Call, CertificateUse, Env, TrustAnchorView
from daypass.sigv4.verifying import UnverifiedX509

C = TypeVar("C")

SIGNING_NAME: Final = "rolesanywhere"
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UNTRUSTED = "Untrusted certificate."
_NO_PROFILE = "Not authorized to use this profile for this role."
_SIGNATURE = "The request signature was not made with the key of the certificate in X-Amz-X509, or for another request."


@dataclass(frozen=True, slots=True)
class TlsCertificate:
    """A certificate whose key was proved at the TLS endpoint: this server, or a proxy that it trusts.

    `source` is "tls" or "proxy", for the record. `unverified_chain` is the chain in the request.
    """

    unverified_der: bytes
    unverified_chain: tuple[str, ...] = ()
    source: str = "tls"


@dataclass(frozen=True, slots=True)
class ProvenCertificate:
    """A certificate whose key the caller holds. It is not yet verified against a trust anchor."""

    unverified_der: bytes
    unverified_chain: tuple[bytes, ...]
    record: Mapping[str, object] = field(default_factory=dict)


class SessionFor(Struct, frozen=True):
    """The request of a certificate's holder. `duration` in seconds; `name` is "" for the certificate's.

    `properties`: what the host says about itself. They are recorded with the certificate and decide nothing.
    """

    role_arn: str
    profile_arn: str
    anchor_arn: str
    duration: int | None = None
    name: str = ""
    properties: tuple[tuple[str, str], ...] = ()


class CertificateSession(Struct, Generic[C], frozen=True):
    """A session, and the ARN of the certificate's subject."""

    issued: Issued[C]
    subject_arn: str


async def create_session(
    env: Env, call: Call, proven: ProvenCertificate, request: SessionFor, form: Form[C]
) -> CertificateSession[C]:
    """Issues a session to the holder of a certificate. Call `prove` first, and read nothing of the request before it.

    Raises DaypassError: ACCESS_DENIED, VALIDATION, and what `assume` raises.
    """
    role = requested_role(request.role_arn)
    start = snapshot(env)

    view, certificate = await _trusted(env, call, request.anchor_arn, proven)
    anchor = view.anchor
    try:
        profile = await _profile(env, request.profile_arn, role, anchor)
        proof = _proof(anchor, profile, certificate, proven)
        proof = replace_struct(proof, again=(partial(_check_anchor, known=view, profile=profile),))
        wanted = AssumeRequest(role.arn, await _session_request(env, profile, certificate, proof, role, request))
        issued = await assume(env, proven_applicant(call, proof, start), wanted, form)
    except DaypassError as error:
        if error.kind is not ErrorKind.UNAVAILABLE:
            _note(env, anchor, certificate, request, call.now, failed=True)
        raise
    _note(env, anchor, certificate, request, call.now, failed=False)
    return CertificateSession(issued, _subject_arn(anchor, certificate))


# --- Proof of possession ---------------------------------------------------------------------------------------------


async def prove(
    env: Env, call: Call, presented: UnverifiedX509 | TlsCertificate, notes: Mapping[str, object] | None = None
) -> ProvenCertificate:
    """The certificate whose key the caller holds. `notes` are recorded with it.

    Raises DaypassError: SIGNATURE_MISMATCH, ACCESS_DENIED when a certificate cannot be read.
    """
    proven = await _checked_proof(env, call, presented)
    return replace(proven, record={**proven.record, **(notes or {})})


async def _checked_proof(env: Env, call: Call, presented: UnverifiedX509 | TlsCertificate) -> ProvenCertificate:
    if isinstance(presented, TlsCertificate):
        chain = tuple(_decoded(part) for part in presented.unverified_chain)
        return ProvenCertificate(presented.unverified_der, chain, {"proved_by": presented.source})
    der, chain = _decoded(presented.certificate), tuple(_decoded(part) for part in presented.chain)
    try:
        await env.certificates.check_signature(
            call.facts.source, der, presented.serial, presented.algorithm, presented.signature, presented.message
        )
    except CertificateRefused as refusal:
        raise DaypassError(ErrorKind.SIGNATURE_MISMATCH, _SIGNATURE, private={"reason": str(refusal)}) from None
    limits = env.limits
    try:
        wall = env.clock.wall()
        sigv4.check_scope(
            presented.claimed, wall, skew_ms=limits.skew_ms, services=(SIGNING_NAME,), regions=limits.regions
        )
    except sigv4.SigV4Error as error:
        raise DaypassError(ErrorKind(error.kind), error.message, private=_unverified(der)) from None
    signature = hashlib.sha256(presented.signature).hexdigest()[:32]
    return ProvenCertificate(der, chain, {"proved_by": "signature", "signature": signature})


def _decoded(unverified: str) -> bytes:
    try:
        return base64.b64decode(unverified.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise _untrusted("a certificate that is not base64") from None


def _unverified(der: bytes) -> dict[str, str]:
    return {"unverified_certificate": hashlib.sha256(der).hexdigest()}


# --- Trust anchor ----------------------------------------------------------------------------------------------------


async def _trusted(
    env: Env, call: Call, anchor_arn: str, proven: ProvenCertificate
) -> tuple[TrustAnchorView, VerifiedCertificate]:
    """The anchor and the verified certificate. When the cache refuses, it tries again after one poll of the feed."""
    try:
        return await _verify_against_anchor(env, call, anchor_arn, proven)
    except DaypassError as error:
        if error.kind is not ErrorKind.ACCESS_DENIED or not await refresh_if_changed(env):
            raise
    return await _verify_against_anchor(env, call, anchor_arn, proven)


async def _verify_against_anchor(
    env: Env, call: Call, anchor_arn: str, proven: ProvenCertificate
) -> tuple[TrustAnchorView, VerifiedCertificate]:
    view = await env.directory.trust_anchor(_id_in(anchor_arn, "trust-anchor"))
    if view is None or view.anchor.arn != anchor_arn:
        raise _untrusted("no such trust anchor", proven=proven, anchor=anchor_arn)
    anchor = view.anchor
    if not anchor.enabled:
        raise _untrusted("the trust anchor is disabled", anchor.account, proven=proven, anchor=anchor_arn)
    crls = [crl.data for crl in view.crls]
    try:
        certificate = await env.certificates.verify(
            call.facts.source, anchor.certificates, crls, proven.unverified_der, proven.unverified_chain, call.now
        )
    except CertificateRefused as refusal:
        raise _untrusted(str(refusal), anchor.account, proven=proven, anchor=anchor_arn) from None
    await _check_anchor(env, known=view)
    return view, certificate


async def _check_anchor(env: Env, *, known: TrustAnchorView, profile: X509Profile | None = None) -> None:
    """Neither has changed since the certificate was verified. Raises DaypassError(ACCESS_DENIED)."""
    anchor = known.anchor
    if await env.directory.trust_anchor(anchor.id) != known:
        raise _untrusted("the trust anchor changed meanwhile", anchor.account)
    if profile is not None and await env.directory.entity(X509Profile, profile.id) != profile:
        raise _untrusted("the profile changed meanwhile", anchor.account)


def _id_in(arn: str, noun: str) -> str:
    """The id in an ARN of this kind of resource. Raises VALIDATION when it is not such an ARN."""
    parsed = read_arn(arn)
    kind, _, found = parsed.resource.partition("/") if parsed is not None else ("", "", "")
    if parsed is None or (parsed.service, kind) != (SIGNING_NAME, noun) or not _ID.fullmatch(found):
        raise context.invalid(f"{arn[:256]} is not the ARN of a {noun}.")
    return found


def _untrusted(
    reason: str, account: str = "", *, proven: ProvenCertificate | None = None, anchor: str = ""
) -> DaypassError:
    private: dict[str, Any] = {OWNER: account, "reason": reason}
    if proven is not None:
        private |= {"trust_anchor": anchor, **_unverified(proven.unverified_der), **proven.record}
    return DaypassError(ErrorKind.ACCESS_DENIED, _UNTRUSTED, private=private)


# --- Roles -----------------------------------------------------------------------------------------------------------


async def _profile(env: Env, profile_arn: str, role: RequestedRole, anchor: TrustAnchor) -> X509Profile:
    profile_id = _id_in(profile_arn, "profile")
    reason = ""
    for attempt in range(2):
        profile = await env.directory.entity(X509Profile, profile_id)
        reason = _why_not(profile, profile_arn, role, anchor)
        if profile is not None and not reason:
            return profile
        if attempt == 0 and not await refresh_if_changed(env):
            break
    private = {OWNER: anchor.account, "reason": reason, "profile": profile_arn, "role": role.arn}
    raise DaypassError(ErrorKind.ACCESS_DENIED, _NO_PROFILE, private=private)


def _why_not(profile: X509Profile | None, profile_arn: str, role: RequestedRole, anchor: TrustAnchor) -> str:
    if profile is None or profile.arn != profile_arn or profile.account != anchor.account:
        return "no such profile in the account of the trust anchor"
    if not profile.enabled:
        return "the profile is disabled"
    if role.arn not in profile.role_arns:
        return "the role is not in the profile"
    return ""


# --- The requested session -------------------------------------------------------------------------------------------


def _proof(
    anchor: TrustAnchor, profile: X509Profile, certificate: VerifiedCertificate, proven: ProvenCertificate
) -> Proof:
    tags = certificate.tags(profile.mappings)
    keys: dict[str, Value] = {
        **tag_keys("aws:principaltag/", tags),
        "aws:sourcearn": anchor.arn,
        "aws:sourceaccount": anchor.account,
        "aws:principalisawsservice": "true",
        "aws:principalservicename": SERVICE,
    }
    return Proof(
        kind=PrincipalKind.CERTIFICATE,
        method="x509",
        account=anchor.account,
        provider=anchor.arn,
        subject=certificate.display_name,
        issuer=certificate.issuer,
        keys=keys,
        tags=tags,
        source_identity=certificate.source_identity,
        service=SERVICE,
        not_after=certificate.not_after,
        record={
            "serial": f"{certificate.serial:x}",
            "fingerprint": certificate.fingerprint,
            "profile": profile.arn,
            **proven.record,
        },
    )


async def _session_request(
    env: Env,
    profile: X509Profile,
    certificate: VerifiedCertificate,
    proof: Proof,
    role: RequestedRole,
    request: SessionFor,
) -> SessionRequest:
    if profile.require_instance_properties and not request.properties:
        raise context.invalid("This profile requires instance properties.")
    if request.name and not profile.accept_role_session_name:
        raise context.invalid("This profile does not accept a role session name.")
    return SessionRequest(
        name=request.name or certificate.session_name,
        duration=await _seconds(env, profile, role, request.duration),
        policy=profile.session_policy,
        policy_arns=profile.managed_policy_arns,
        tags=proof.tags,
        source_identity=proof.source_identity,
    )


async def _seconds(env: Env, profile: X509Profile, role: RequestedRole, requested: int | None) -> int:
    """The requested duration, limited by the profile. A profile that allows more than the role is limited by the role."""
    if requested is not None:
        if requested > profile.duration_seconds:
            raise context.invalid("The requested duration exceeds that of the profile.")
        return requested
    view = await env.directory.role(role.account, role.name)
    most = view.role.max_session_seconds if view is not None else profile.duration_seconds
    return min(profile.duration_seconds, most)


# --- The answer ------------------------------------------------------------------------------------------------------


def _note(
    env: Env, anchor: TrustAnchor, certificate: VerifiedCertificate, request: SessionFor, now: int, *, failed: bool
) -> None:
    subject_id = certificate.subject_id(anchor.account)
    env.certificate_uses.note(
        CertificateUse(anchor.account, anchor.region, subject_id, certificate, now, failed, request.properties)
    )


def _subject_arn(anchor: TrustAnchor, certificate: VerifiedCertificate) -> str:
    subject_id = certificate.subject_id(anchor.account)
    return f"arn:aws:rolesanywhere:{anchor.region}:{anchor.account}:subject/{subject_id}"
