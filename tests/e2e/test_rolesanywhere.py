"""Hosts with certificates, for real: the stock client of IAM Roles Anywhere over HTTPS, and mutual TLS without a signature."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from iam_rolesanywhere_session import IAMRolesAnywhereSession
from iam_rolesanywhere_session.exceptions import CredentialsRetrievalError
from tests.e2e.conftest import OPERATOR, Server, running
from tests.e2e.pki import Pki
from tests.x509 import Authority, Holder, body

pytestmark = pytest.mark.slow

AT = datetime.now(UTC)
TRUST = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Principal": {"Service": "rolesanywhere.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
        "Condition": {"StringEquals": {"aws:PrincipalTag/x509Subject/OU": "Line 1"}},
    },
}


def key_pem(holder: Holder) -> bytes:
    return holder.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def plant() -> Authority:
    return Authority.make(at=AT)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Server]:
    context = ssl.create_default_context(cafile=str(pki.ca))
    options = ("--tls-cert", str(pki.server_cert), "--tls-key", str(pki.server_key))
    with running(tmp_path_factory.mktemp("data"), *options, tls=context) as started:
        yield started


def register(server: Server, pki: Pki, plant: Authority, **more: Any) -> dict[str, str]:
    """The plant's anchor, a role for its first line, and a profile that holds it."""
    iam = server.client("iam", verify=str(pki.ca), **more)
    role = iam.create_role(RoleName="line", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    anywhere = server.client("rolesanywhere", verify=str(pki.ca), **more)
    source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": plant.pem}}
    anchor = anywhere.create_trust_anchor(name="plant", source=source, enabled=True)["trustAnchor"]
    profile = anywhere.create_profile(name="hosts", roleArns=[role], enabled=True)["profile"]
    return {"anchor": anchor["trustAnchorArn"], "profile": profile["profileArn"], "role": role}


@pytest.fixture(scope="module")
def arns(server: Server, pki: Pki, plant: Authority) -> dict[str, str]:
    return register(server, pki, plant)


def stock(server: Server, pki: Pki, arns: dict[str, str], holder: Holder, *chain: Holder) -> Any:
    """The public client, told nothing but where the server is."""
    return IAMRolesAnywhereSession(
        profile_arn=arns["profile"],
        role_arn=arns["role"],
        trust_anchor_arn=arns["anchor"],
        certificate=holder.pem.encode(),
        private_key=key_pem(holder),
        certificate_chain="".join(other.pem for other in chain).encode() or None,
        endpoint=server.url.removeprefix("https://"),
        region="eu-central-1",
        verify=str(pki.ca),
    )


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "chain", "sha384"])
def test_stock_client_gets_a_session_that_works(
    server: Server, pki: Pki, plant: Authority, arns: dict[str, str], kind: str
) -> None:
    issuer = Authority.make("CN=plant issuing", plant, at=AT) if kind == "chain" else plant
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else None
    digest = hashes.SHA384() if kind == "sha384" else None
    host = issuer.host("OU=Line 1/CN=host-1", at=AT, key=key, serial=0xBEEF, digest=digest)
    chain = (issuer,) if kind == "chain" else ()
    session = stock(server, pki, arns, host, *chain).get_session()
    sts = session.client("sts", endpoint_url=server.url, region_name="eu-central-1")
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:sts::{OPERATOR}:assumed-role/line/beef"


def test_stock_client_of_another_line_is_denied(
    server: Server, pki: Pki, plant: Authority, arns: dict[str, str]
) -> None:
    client = stock(server, pki, arns, plant.host("OU=Line 2/CN=host-2", at=AT))
    with pytest.raises(CredentialsRetrievalError, match=r"403.*Not authorized to perform sts:AssumeRole"):
        client.get_session().client("sts", endpoint_url=server.url).get_caller_identity()


def test_mutual_tls_gives_the_same_session_without_a_signature(tmp_path: Path, pki: Pki, plant: Authority) -> None:
    client_ca = tmp_path / "clients.pem"
    client_ca.write_text(plant.pem + pki.ca.read_text())
    options = ("--tls-cert", str(pki.server_cert), "--tls-key", str(pki.server_key), "--client-ca", str(client_ca))
    ours = ssl.create_default_context(cafile=str(pki.ca))
    ours.load_cert_chain(pki.client_cert, pki.client_key)
    with running(tmp_path / "data", *options, tls=ours) as server:
        both = tmp_path / "admin.pem"
        both.write_bytes(pki.client_cert.read_bytes() + pki.client_key.read_bytes())
        arns = register(server, pki, plant, client_cert=str(both))
        status, answer = _ask(server, pki, tmp_path, plant.host("OU=Line 1/CN=host-1", at=AT, serial=0xBEEF), arns)
        assert status == 201, answer
        assert answer["credentialSet"][0]["sourceIdentity"] == "CN=host-1"
        assert answer["credentialSet"][0]["assumedRoleUser"]["arn"].endswith("/line/beef")
        status, answer = _ask(server, pki, tmp_path, plant.host("OU=Line 2/CN=host-2", at=AT), arns)
        assert (status, answer["message"]) == (403, "Not authorized to perform sts:AssumeRole")
        status, answer = _ask(server, pki, tmp_path, None, arns)  # the administrator's certificate is not the plant's
        assert (status, answer["message"]) == (403, "Untrusted certificate.")


def _ask(
    server: Server, pki: Pki, folder: Path, holder: Holder | None, arns: dict[str, str]
) -> tuple[int, dict[str, Any]]:
    context = ssl.create_default_context(cafile=str(pki.ca))
    if holder is None:
        context.load_cert_chain(pki.client_cert, pki.client_key)
    else:
        file = folder / "host.pem"
        file.write_bytes(holder.pem.encode() + key_pem(holder))
        context.load_cert_chain(file)
    connection = http.client.HTTPSConnection(
        "127.0.0.1", int(server.url.rpartition(":")[2]), context=context, timeout=60
    )
    try:
        connection.request("POST", "/sessions", body(arns), {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()
