"""Certificates by role, for OpenSSH and databases: a session gets one for the names that its permissions allow.

A certificate never outlives its session. Which certificates are revoked follows from the record and the revocations, so
there is nothing to be kept in step with them. A certificate whose session is not found counts as revoked.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from msgspec import Struct

from daypass.api.certificates import IssueCertificateInput
from daypass.domain.access.request import original_principal
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.domain.policy.model import Decision, Value
from daypass.domain.session import SessionClaims
from daypass.operations.authorize import authorize
from daypass.operations.management import allow_own, arn_of
from daypass.operations.outcome import OWNER, served
from daypass.ports import Call, Env, RecordFilter, Viewer
from daypass.ports.certificates import CertificateKind, CertificateRequest

ACTION: Final = "IssueCertificate"
DEFAULT_SECONDS: Final = 3_600
MAX_SECONDS: Final = 43_200
MAX_LISTED: Final = 20_000
"""Certificates of half a day that the lists are made from. If an account has more, every one is on the lists."""
_PAGE: Final = 1_000
_KEEP_MS: Final = 10_000
_SLICE: Final = 200  # certificates that are compared in a turn
_NAMES: Final[Mapping[CertificateKind, re.Pattern[str]]] = {
    CertificateKind.SSH_USER: re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}"),
    CertificateKind.SSH_HOST: re.compile(
        r"[a-z0-9][a-z0-9.-]{0,252}|[0-9a-f:]{2,39}"
    ),  # no wildcards: ssh would follow them
    CertificateKind.DATABASE: re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.$@-]{0,62}"),
}


async def issue_certificate(env: Env, call: Call, wanted: IssueCertificateInput) -> dict[str, Any]:
    """daypass:IssueCertificate on `certificate/KIND/NAME` for each name.

    Raises DaypassError: INVALID_SUBJECT_CREDENTIALS, VALIDATION, ACCESS_DENIED, SESSION_DURATION_ESCALATION, UNAVAILABLE.
    """
    kind, session = CertificateKind(wanted.kind), _session(call)
    critical = _checked(kind, wanted)
    expires_at = _end(call, session, wanted.seconds)
    decision = await _authorized(env, call, wanted, critical, (expires_at - call.now) // 1000)
    block = env.directory.blocked(call.caller.hops, session.source_identity, call.now)
    if block is not None:
        raise _refused(call, {OWNER: block.account, "reason": "blocked", "revocation": block.id})
    if env.rates.charge_certificate(original_principal(call.caller.hops)):
        message = "Too many certificates: a principal gets 1000 in twelve hours from each process."
        raise DaypassError(ErrorKind.THROTTLED, message, private={"rate": "certificates"})
    shown = " ".join(filter(None, (session.session_id, call.caller.arn, session.source_identity)))
    extensions = [f"permit-{name}" for name in wanted.extensions]
    request = CertificateRequest(
        kind, call.caller.account, wanted.public_key, wanted.names, shown, expires_at, critical, extensions
    )
    try:
        made = env.authorities.issue(request)
    except ValueError as error:
        raise _invalid(f"public_key: {error}.") from None
    serial = f"{made.serial:016x}"
    detail = {
        "kind": kind,
        "names": wanted.names,
        "serial": serial,
        "authority": made.authority,
        "key": made.fingerprint,
        "expires_at": expires_at,
        "extensions": wanted.extensions,
        **critical,
    }
    event = served(
        call, kind=EventType.CERTIFICATE_ISSUED, session_id=session.session_id, decision=decision, detail=detail
    )
    await env.journal.commit(event)
    return {"certificate": made.text, "serial": serial, "expires_at": expires_at}


def _session(call: Call) -> SessionClaims:
    session = call.caller.session
    if session is None:
        message = "A certificate is issued to a session: assume a role first."
        raise DaypassError(ErrorKind.INVALID_SUBJECT_CREDENTIALS, message)
    if session.audiences is not None or session.may_act is not None:
        raise _refused(call, {"reason": "the session is for other audiences"})
    return session


def _refused(call: Call, private: Mapping[str, Any]) -> DaypassError:
    public = f"User: {call.caller.arn} is not authorized to perform: daypass:{ACTION}"
    return DaypassError(ErrorKind.ACCESS_DENIED, public, private=private)


def _checked(kind: CertificateKind, wanted: IssueCertificateInput) -> dict[str, str]:
    """The critical options. Raises DaypassError(VALIDATION)."""
    limited = wanted.extensions or wanted.force_command or wanted.source_addresses
    if kind is not CertificateKind.SSH_USER and limited:
        raise _invalid("extensions, force_command and source_addresses are for ssh-user alone.")
    if kind is CertificateKind.DATABASE and len(wanted.names) != 1:
        raise _invalid("A certificate for a database has one name.")
    if len(set(wanted.names)) != len(wanted.names) or not all(map(_NAMES[kind].fullmatch, wanted.names)):
        raise _invalid(f"names: a name cannot be used for {kind}, or is given twice.")
    if not wanted.force_command.isprintable():
        raise _invalid("force_command: it must be printable.")
    networks = ",".join(map(_network, wanted.source_addresses))
    options = {"force-command": wanted.force_command, "source-address": networks}
    return {name: value for name, value in options.items() if value}


def _network(text: str) -> str:
    """An address or network in its one spelling: policies see it, and sshd reads it. Raises DaypassError(VALIDATION)."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise _invalid(f"{error}.") from None
    if "%" in text:  # the zone of an IPv6 address may be any text, a comma and another network included
        raise _invalid("source_addresses: an address with a zone is not allowed.")
    return str(network.network_address if network.num_addresses == 1 else network)


def _invalid(message: str) -> DaypassError:
    return DaypassError(ErrorKind.VALIDATION, message)


def _end(call: Call, session: SessionClaims, seconds: int | None) -> int:
    """When the certificate ends (ms): never after the session."""
    end = call.now + 1000 * (seconds or DEFAULT_SECONDS)
    if seconds is not None and end > session.expires_at:
        message = "The requested duration would extend beyond the end of the session."
        raise DaypassError(ErrorKind.SESSION_DURATION_ESCALATION, message)
    return min(end, session.expires_at)


async def _authorized(
    env: Env, call: Call, wanted: IssueCertificateInput, critical: Mapping[str, str], seconds: int
) -> Decision:
    keys: dict[str, Value] = {"daypass:certificateseconds": str(seconds)}
    if wanted.kind == "ssh-user":
        keys["daypass:sshextension"] = tuple(wanted.extensions)
    if networks := critical.get("source-address"):
        keys["daypass:sshsourceaddress"] = tuple(networks.split(","))
    if command := critical.get("force-command"):
        keys["daypass:sshforcecommand"] = command
    for name in wanted.names:
        resource = arn_of(call.caller.account, "certificate", f"{wanted.kind}/{name}")
        decision = await authorize(env, call, f"daypass:{ACTION}", resource, context=keys)
    return decision


# --- The authorities, and the revoked certificates


class _Issued(Struct, frozen=True):
    """A certificate that has not ended. `session`: None when it is not found."""

    authority: str
    serial: int
    expires_at: int
    session: SessionClaims | None


class _Lists(Struct, frozen=True):
    """The lists of an account for a version of the revocations, and the certificates that they were made from."""

    version: int
    made_at: int
    issued: tuple[_Issued, ...] | None
    krl: bytes
    crl: str


class CertificateLists:
    """The lists of this process. They are made again after a revocation and every ten seconds. While the record is unavailable,
    they are made from the certificates that are known.
    """

    def __init__(self) -> None:
        self._made: dict[str, _Lists] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, env: Env, call: Call) -> dict[str, Any]:
        """daypass:GetCertificateAuthorities. Raises DaypassError: ACCESS_DENIED, UNAVAILABLE (the record was never read)."""
        account = call.caller.account
        decision = await allow_own(env, call, "GetCertificateAuthorities", "certificate")
        async with self._locks.setdefault(account, asyncio.Lock()):
            lists = self._made.get(account)
            if lists is None or lists.version != env.revocations.version or env.clock.now() - lists.made_at > _KEEP_MS:
                lists = self._made[account] = await _lists(env, account, lists)
        await env.journal.commit(served(call, decision=decision))
        return {
            **{kind.replace("-", "_"): env.authorities.public(kind, account) for kind in CertificateKind},
            "number": lists.made_at,
            "krl": base64.b64encode(lists.krl).decode("ascii"),
            "crl": lists.crl,
        }


async def _lists(env: Env, account: str, last: _Lists | None) -> _Lists:
    now, version = env.clock.now(), env.revocations.version
    try:
        issued = await _issued(env, account, now)
    except DaypassError as error:
        if last is None or error.kind is not ErrorKind.UNAVAILABLE:
            raise
        issued = last.issued
    serials: dict[str, list[int]] | None = None if issued is None else {}
    for number, each in enumerate(issued or ()):
        if number % _SLICE == 0:
            await env.slices.turn(account)
        ended = each.session is None or env.directory.revoked(each.session) is not None
        if ended and each.expires_at > now and serials is not None:
            serials.setdefault(each.authority, []).append(each.serial)
    krl, crl = await asyncio.to_thread(env.authorities.revoked, account, now, serials)
    return _Lists(version, now, issued, krl, crl)


async def _issued(env: Env, account: str, now: int) -> tuple[_Issued, ...] | None:
    """The certificates of an account that have not ended; None: there are too many to tell."""
    found: list[Mapping[str, Any]] = []
    query = RecordFilter(
        account=account,
        type=EventType.CERTIFICATE_ISSUED.value,
        since=now - 1000 * MAX_SECONDS - env.limits.skew_ms,
        limit=_PAGE,
    )
    while True:
        page = await env.records.search(Viewer(account), query)
        found += [each.body for each in page if each.body and each.body.get("account") == account]
        if len(page) < _PAGE:
            break
        if len(found) > MAX_LISTED:
            return None
        query = replace(query, before=(page[-1].at, page[-1].log, page[-1].seq))
    valid = [each for each in found if each["detail"]["expires_at"] > now]
    sessions = await env.records.sessions_by_id({each["session_id"] for each in valid}, account)
    return tuple(
        _Issued(detail["authority"], int(detail["serial"], 16), detail["expires_at"], sessions.get(each["session_id"]))
        for each in valid
        for detail in (each["detail"],)
    )
