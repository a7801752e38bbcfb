"""The lists of revoked certificates: whole chains, an outage of the database, more certificates than are looked at."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, Key, Server, policy

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.sessions import certificates
from daypass.scheduling.buckets import Buckets

PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINgqk0R1gjZzAjVK1jC7VdUuP2sHGfvlUHjbyNNjAyP7"
MAY = policy("daypass:IssueCertificate", "sts:AssumeRole", "sts:SetSourceIdentity")


async def issued(server: Server, key: Key, kind: str = "database") -> int:
    answer = await server.api(key, "POST", "/certificates", body={"kind": kind, "public_key": PUBLIC, "names": ["app"]})
    assert answer.status == 201, answer.body
    return int(answer.json["serial"], 16)


async def lists(server: Server, key: Key) -> Any:
    answer = await server.api(key, "GET", "/certificate-authorities")
    assert answer.status == 200, answer.body
    return answer.json


def revoked(found: Any) -> set[int]:
    """The serial numbers on the first CRL."""
    crl = x509.load_pem_x509_crl(found["crl"].split("-----END")[0].encode() + b"-----END X509 CRL-----\n")
    return {each.serial_number for each in crl}


@pytest.fixture
async def chained(server: Server) -> tuple[Key, Key, Key]:
    """A session of the operator's account, one made from it in the tenant's, and another one there."""
    _, alice = await server.user("alice", OPERATOR, MAY)
    first = await server.role("first", OPERATOR, OPERATOR, MAY)
    second = await server.role("second", TENANT, OPERATOR, MAY)
    parent = await server.assume(alice, first.arn, SourceIdentity="alice")
    return parent, await server.assume(parent, second.arn), await server.assume(alice, second.arn)


async def revoke(server: Server, key: Key) -> None:
    session = (await server.session_of(key))["session_id"]
    answer = await server.api(ROOT, "POST", "/revocations", body={"subject": "session", "value": session})
    assert answer.status == 201, answer.body


async def test_revocation_in_another_account_ends_certificates_of_the_chain(
    server: Server, chained: tuple[Key, Key, Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, child, other = chained
    await issued(server, parent)
    mine, theirs, line = (
        await issued(server, child),
        await issued(server, other),
        await issued(server, child, "ssh-user"),
    )
    monkeypatch.setattr(certificates, "_PAGE", 2)  # three certificates of the account are more than a page
    before = await lists(server, other)
    assert revoked(before) == set()
    await revoke(server, parent)
    after = await lists(server, other)
    assert revoked(after) == {mine, line}
    krl = base64.b64decode(after["krl"])
    assert [serial.to_bytes(8, "big") in krl for serial in (mine, line, theirs)] == [True, True, False]
    assert after["number"] > before["number"]


@pytest.mark.parametrize(
    ("networks", "status"),
    [
        (["10.0.0.0/8"], 201),
        (["10.0.0.0/255.0.0.0", "192.0.2.7/32"], 201),
        (["10.0.0.0/0.255.255.255"], 201),  # the same network
        (["10.0.0.0/7"], 403),
        (["192.0.2.7", "::/0"], 403),
        (["10.0.0.0/8", "::%x,0.0.0.0/0"], 400),
        ([], 403),
    ],
)
async def test_a611_policies_see_one_spelling_of_the_networks_of_a_certificate(
    server: Server, networks: list[str], status: int
) -> None:
    _, alice = await server.user("alice", OPERATOR, policy("sts:AssumeRole"))
    key = "daypass:SshSourceAddress"
    condition = {"ForAllValues:StringEquals": {key: ["10.0.0.0/8", "192.0.2.7"]}, "Null": {key: "false"}}
    statement = {"Effect": "Allow", "Action": "daypass:IssueCertificate", "Resource": "*", "Condition": condition}
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    role = await server.role("limited", OPERATOR, OPERATOR, document)
    body = {"kind": "ssh-user", "public_key": PUBLIC, "names": ["app"], "source_addresses": networks}
    answer = await server.api(await server.assume(alice, role.arn), "POST", "/certificates", body=body)
    assert answer.status == status, answer.body
    if status == 201:
        certificate = load_ssh_public_identity(answer.json["certificate"].encode())
        assert isinstance(certificate, SSHCertificate)
        options = certificate.critical_options[b"source-address"].split(b",")
        assert set(options) <= {b"10.0.0.0/8", b"192.0.2.7"}


async def test_during_an_outage_known_certificates_are_still_revoked(
    server: Server, chained: tuple[Key, Key, Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, child, other = chained
    serial = await issued(server, child)

    async def unavailable(*_: Any) -> None:
        raise DaypassError(ErrorKind.UNAVAILABLE, "The record cannot be read.")

    await lists(server, other)
    monkeypatch.setattr(server.runtime.env.records, "search", unavailable)
    await revoke(server, child)
    assert revoked(await lists(server, other)) == {serial}
    answer = await server.api(ROOT, "GET", "/certificate-authorities")  # of an account whose record was never read
    assert answer.status == 503


async def test_a619_principal_that_takes_too_many_certificates_leaves_room_for_others(
    server: Server, chained: tuple[Key, Key, Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, child, _ = chained
    monkeypatch.setattr(server.runtime.env.rates, "_certificates", Buckets(1e-6, 2))
    _, bob = await server.user("bob", OPERATOR, MAY)
    body = {"kind": "database", "public_key": PUBLIC, "names": ["app"]}
    await issued(server, parent)
    await issued(server, child)  # of the same person, by a chain
    for key in (parent, child):
        answer = await server.api(key, "POST", "/certificates", body=body)
        assert (answer.status, "1000 in twelve hours" in str(answer.json)) == (429, True)
    role = await server.role("of-bob", OPERATOR, OPERATOR, MAY)
    assert await issued(server, await server.assume(bob, role.arn))


async def test_account_with_too_many_certificates_has_all_of_them_on_the_lists(
    server: Server, chained: tuple[Key, Key, Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, other = chained
    for _ in range(3):
        await issued(server, other)
    monkeypatch.setattr(certificates, "_PAGE", 1)
    monkeypatch.setattr(certificates, "MAX_LISTED", 1)
    found = await lists(server, other)
    authority = x509.load_pem_x509_certificate(found["database"][0].encode())
    assert revoked(found) == {authority.serial_number}
    user = base64.b64decode(found["ssh_user"][0].split()[1])
    assert b"\x02" + (len(user) + 4).to_bytes(4, "big") + len(user).to_bytes(4, "big") + user in base64.b64decode(
        found["krl"]
    )
