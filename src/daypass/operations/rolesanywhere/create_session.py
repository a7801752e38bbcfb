"""CreateSession: a certificate becomes a role session. `create_session` is the whole story, in order.

The caller first proves that it has the certificate's key: by a signature over the request, or by the TLS connection that
it came through. Then the certificate has to lead to the trust anchor, the profile to hold the role, and the role to trust
the service; the session is issued as every other. Nobody learns why a certificate is not believed, nor whether the anchor,
profile or role that it named exists: the record of their account says it.
Source: IAM Roles Anywhere User Guide, "CreateSession API" and "The IAM Roles Anywhere authentication process".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from daypass import sigv4
from daypass.domain.arn import assumed_role_arn, parse_arn
from daypass.domain.certificate import SERVICE, Certificate, CertificateRefused
from daypass.domain.claims import PrincipalKind
from daypass.domain.context import tag_keys
from daypass.domain.directory import TrustAnchor, X509Profile
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.model import Value
from daypass.domain.proof import Proof
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations.assume_role import RequestedRole, requested_role
from daypass.operations.authorize import feed_moved
from daypass.operations.federate import assume_with_proof
from daypass.operations.issue import Issued, SessionRequest, start
from daypass.operations.outcome import OWNER
from daypass.operations.rolesanywhere import faults
from daypass.ports import Call, CertificateVerifier, Env, RoleView, Sighting, TrustAnchorView
from daypass.sigv4.x509 import UnverifiedX509

SIGNING_NAME: Final = "rolesanywhere"
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UNTRUSTED = "Untrusted certificate."
_NO_PROFILE = "Not authorized to use this profile for this role."
_SIGNATURE = "The request signature was not made with the key of the certificate in X-Amz-X509, or for another request."


@dataclass(frozen=True, slots=True)
class TlsCertificate:
    """A certificate whose key was proved to the TLS endpoint: this server's, or that of a proxy it trusts.

    `source` says which, for the record: "tls" or "proxy". `unverified_chain` is what the request gives beside it.
    """

    unverified_der: bytes
    unverified_chain: tuple[str, ...] = ()
    source: str = "tls"


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate whose key the caller has. Who vouches for it is not known yet."""

    unverified_der: bytes
    unverified_chain: tuple[bytes, ...]
    record: Mapping[str, object] = field(default_factory=dict)


async def create_session(env: Env, call: Call, held: Held, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """A session for the holder of a certificate: call `prove` first, and read nothing of the request before it.

    `params` by the members of the service's API, checked for their form. The answer in the API's members, times in ms.
    Raises DaypassError: ACCESS_DENIED, VALIDATION, and what `issue` raises.
    """
    certificates = _verifier(env)
    if params.get("cert", held.unverified_der) != held.unverified_der:
        raise faults.invalid("cert is not the certificate whose key was proved.")
    role = requested_role(params["roleArn"])
    started = start(env)

    view, certificate = await _trusted(env, certificates, params["trustAnchorArn"], held, call.now)
    anchor = view.anchor
    try:
        profile = await _profile(env, params["profileArn"], role, anchor)
        proof = _proof(anchor, profile, certificate, held)
        request = await _session_request(env, profile, certificate, proof, role, params)
        issued, role_view = await assume_with_proof(env, call, proof, role, request, started, action=ASSUME_ROLE)
    except DaypassError as error:
        if error.kind is not ErrorKind.UNAVAILABLE:
            _note(env, anchor, certificate, params, call.now, failed=True)
        raise
    _note(env, anchor, certificate, params, call.now, failed=False)
    return _answer(issued, role_view, _subject_arn(anchor, certificate))


# --- Whose key is it -------------------------------------------------------------------------------------------------


def prove(
    env: Env, brought: UnverifiedX509 | TlsCertificate, now: int, remarks: Mapping[str, object] | None = None
) -> Held:
    """The certificate whose key the caller has. `remarks` go to the record with it.

    Raises DaypassError: SIGNATURE_MISMATCH, ACCESS_DENIED when a certificate cannot be read.
    """
    held = _held(env, brought, now)
    return replace(held, record={**held.record, **(remarks or {})})


def _verifier(env: Env) -> CertificateVerifier:
    if env.certificates is None:
        raise DaypassError(ErrorKind.UNSUPPORTED_OPERATION, "X.509 sessions are not served here.")
    return env.certificates


def _held(env: Env, proven: UnverifiedX509 | TlsCertificate, now: int) -> Held:
    certificates = _verifier(env)
    if isinstance(proven, TlsCertificate):
        chain = tuple(_decoded(part) for part in proven.unverified_chain)
        return Held(proven.unverified_der, chain, {"proved_by": proven.source})
    der, chain = _decoded(proven.certificate), tuple(_decoded(part) for part in proven.chain)
    try:
        if certificates.serial(der) != proven.serial:
            raise CertificateRefused("the credential scope names another serial number")
        certificates.check_signature(der, proven.algorithm, proven.signature, proven.message)
    except CertificateRefused as refusal:
        raise DaypassError(ErrorKind.SIGNATURE_MISMATCH, _SIGNATURE, private={"reason": str(refusal)}) from None
    limits = env.limits
    try:
        sigv4.check_scope(proven.claimed, now, skew_ms=limits.skew_ms, services=(SIGNING_NAME,), regions=limits.regions)
    except sigv4.SigV4Error as error:
        raise DaypassError(ErrorKind(error.kind), error.message, private=_unverified(der)) from None
    signature = hashlib.sha256(proven.signature).hexdigest()[:32]
    return Held(der, chain, {"proved_by": "signature", "signature": signature})


def _decoded(unverified: str) -> bytes:
    try:
        return base64.b64decode(unverified.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise _untrusted("a certificate that is not base64") from None


def _unverified(der: bytes) -> dict[str, str]:
    return {"unverified_certificate": hashlib.sha256(der).hexdigest()}


# --- Who vouches for it ----------------------------------------------------------------------------------------------


async def _trusted(
    env: Env, certificates: CertificateVerifier, anchor_arn: str, held: Held, now: int
) -> tuple[TrustAnchorView, Certificate]:
    """The anchor and what the certificate says, asked again after one poll of the feed where the cache says no."""
    try:
        return await _look_at(env, certificates, anchor_arn, held, now)
    except DaypassError as error:
        if error.kind is not ErrorKind.ACCESS_DENIED or not await feed_moved(env):
            raise
    return await _look_at(env, certificates, anchor_arn, held, now)


async def _look_at(
    env: Env, certificates: CertificateVerifier, anchor_arn: str, held: Held, now: int
) -> tuple[TrustAnchorView, Certificate]:
    view = await env.directory.trust_anchor(_id_in(anchor_arn, "trust-anchor"))
    if view is None or view.anchor.arn != anchor_arn:
        raise _untrusted("no such trust anchor", held=held, anchor=anchor_arn)
    anchor = view.anchor
    if not anchor.enabled:
        raise _untrusted("the trust anchor is disabled", anchor.account, held=held, anchor=anchor_arn)
    crls = [crl.data for crl in view.crls]
    await certificates.prepare(crls)
    try:
        certificate = certificates.verify(anchor.certificates, crls, held.unverified_der, held.unverified_chain, now)
    except CertificateRefused as refusal:
        raise _untrusted(str(refusal), anchor.account, held=held, anchor=anchor_arn) from None
    return view, certificate


def _id_in(arn: str, noun: str) -> str:
    """The id in an ARN of this kind of resource. Raises VALIDATION when it is no such ARN."""
    try:
        parsed = parse_arn(arn)
    except ValueError:
        parsed = None
    kind, _, found = parsed.resource.partition("/") if parsed is not None else ("", "", "")
    if parsed is None or (parsed.service, kind) != (SIGNING_NAME, noun) or not _ID.fullmatch(found):
        raise faults.invalid(f"{arn[:256]} is not the ARN of a {noun}.")
    return found


def _untrusted(reason: str, account: str = "", *, held: Held | None = None, anchor: str = "") -> DaypassError:
    private: dict[str, Any] = {OWNER: account, "reason": reason}
    if held is not None:
        private |= {"trust_anchor": anchor, **_unverified(held.unverified_der), **held.record}
    return DaypassError(ErrorKind.ACCESS_DENIED, _UNTRUSTED, private=private)


# --- Which roles it may ask for --------------------------------------------------------------------------------------


async def _profile(env: Env, profile_arn: str, role: RequestedRole, anchor: TrustAnchor) -> X509Profile:
    profile_id = _id_in(profile_arn, "profile")
    reason = ""
    for attempt in range(2):
        profile = await env.directory.x509_profile(profile_id)
        reason = _why_not(profile, profile_arn, role, anchor)
        if profile is not None and not reason:
            return profile
        if attempt == 0 and not await feed_moved(env):
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


# --- What is asked ---------------------------------------------------------------------------------------------------


def _proof(anchor: TrustAnchor, profile: X509Profile, certificate: Certificate, held: Held) -> Proof:
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
        subject=certificate.called,
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
            **held.record,
        },
    )


async def _session_request(
    env: Env,
    profile: X509Profile,
    certificate: Certificate,
    proof: Proof,
    role: RequestedRole,
    params: Mapping[str, Any],
) -> SessionRequest:
    if profile.require_instance_properties and not params.get("instanceProperties"):
        raise faults.invalid("This profile requires instanceProperties.")
    name = params.get("roleSessionName") or ""
    if name and not profile.accept_role_session_name:
        raise faults.invalid("This profile does not accept a roleSessionName.")
    return SessionRequest(
        name=name or certificate.session_name,
        duration=await _seconds(env, profile, role, params.get("durationSeconds")),
        policy=profile.session_policy,
        policy_arns=profile.managed_policy_arns,
        tags=proof.tags,
        source_identity=proof.source_identity,
    )


async def _seconds(env: Env, profile: X509Profile, role: RequestedRole, asked: int | None) -> int:
    """What is asked, at most what the profile gives; of a profile that gives more than the role, what the role gives."""
    if asked is not None:
        if asked > profile.duration_seconds:
            raise faults.invalid("The requested durationSeconds exceeds the durationSeconds of the profile.")
        return asked
    view = await env.directory.role(role.account, role.name)
    most = view.role.max_session_seconds if view is not None else profile.duration_seconds
    return min(profile.duration_seconds, most)


# --- The answer ------------------------------------------------------------------------------------------------------


def _note(
    env: Env, anchor: TrustAnchor, certificate: Certificate, params: Mapping[str, Any], now: int, *, failed: bool
) -> None:
    if env.sightings is not None:
        properties = tuple((params.get("instanceProperties") or {}).items())
        subject_id = certificate.subject_id(anchor.account)
        env.sightings.note(Sighting(anchor.account, anchor.region, subject_id, certificate, now, failed, properties))


def _subject_arn(anchor: TrustAnchor, certificate: Certificate) -> str:
    subject_id = certificate.subject_id(anchor.account)
    return f"arn:aws:rolesanywhere:{anchor.region}:{anchor.account}:subject/{subject_id}"


def _answer(issued: Issued, view: RoleView, subject_arn: str) -> Mapping[str, Any]:
    claims, role = issued.claims, view.role
    given = issued.credentials()
    answer: dict[str, Any] = {
        "assumedRoleUser": {
            "arn": assumed_role_arn(role.account, role.name, claims.name),
            "assumedRoleId": f"{role.id}:{claims.name}",
        },
        "credentials": {
            "accessKeyId": given["AccessKeyId"],
            "expiration": given["Expiration"],
            "secretAccessKey": given["SecretAccessKey"],
            "sessionToken": given["SessionToken"],
        },
        "packedPolicySize": issued.utilization,
        "roleArn": role.arn,
        "sourceIdentity": claims.source_identity,
    }
    return {"credentialSet": [answer], "subjectArn": subject_arn}
