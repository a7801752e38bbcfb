"""Client certificates at Daypass's own TLS: asked for and not required, for OAuth clients (RFC 8705)."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.e2e.conftest import ADMIN_KEY, Server, running
from tests.e2e.pki import Pki
from tests.x509 import Authority, Holder, certify, ec_key, name

from daypass.client.http import Connection
from daypass.client.profiles import Profile

pytestmark = pytest.mark.slow

NOW = datetime.now(UTC)
Pair = tuple[str, str]
"""The files of a certificate and its key, as `requests` takes them."""


@dataclass(frozen=True)
class World:
    server: Server
    pki: Pki
    authority: Authority
    known: Pair  # of the authority
    self_signed: Pair  # in the bundle
    unknown: Pair  # self-signed, too

    def api(self, path: str, body: Any, method: str = "POST") -> dict[str, Any]:
        profile = Profile(self.server.url, *ADMIN_KEY, region="eu-central-1", ca_bundle=str(self.pki.ca))
        return dict(Connection(profile, deadline=60.0).api(method, path, body=body))

    def client(self, role_name: str, **settings: Any) -> str:
        """A client with a role of its own that trusts it: the client_id."""
        common = {"grant_types": ["client_credentials"], "audiences": [self.server.url]}
        made = self.api("/clients", {"name": role_name, "settings": {**common, **settings}})
        statement = {
            "Effect": "Allow",
            "Principal": {"Federated": made["arn"]},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {"daypass:ClientId": made["client_id"]}},
        }
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam = self.server.client("iam", verify=str(self.pki.ca))
        role = iam.create_role(RoleName=role_name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        changed = {"settings": {**made["settings"], "roles": [role]}}
        return str(self.api(f"/clients/{made['client_id']}", changed, "PUT")["client_id"])

    def token(self, client_id: str, certificate: Pair | None) -> dict[str, Any]:
        """The token that Authlib gets with a certificate."""
        session = OAuth2Session(client_id, token_endpoint_auth_method="none")
        url = f"{self.server.url}/oauth2/token"
        return dict(
            session.fetch_token(url, grant_type="client_credentials", cert=certificate, verify=str(self.pki.ca))
        )

    def ask(self, path: str, form: dict[str, str], certificate: Pair | None, text: str = "") -> requests.Response:
        headers = {"authorization": f"Bearer {text}"} if text else {}
        return requests.post(
            f"{self.server.url}{path}",
            data=form,
            headers=headers,
            cert=certificate,
            verify=str(self.pki.ca),
            timeout=60,
        )


def files(folder: Path, file: str, holder: Holder) -> Pair:
    """A certificate and its key in files."""
    certificate, key = folder / f"{file}.pem", folder / f"{file}.key"
    certificate.write_text(holder.pem)
    key.write_bytes(holder.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(certificate), str(key)


def self_signed() -> Holder:
    """A certificate that its own key has signed."""
    key = ec_key()
    return Holder(key, certify("CN=app", key, (key, name("CN=app")), (), at=NOW))


def thumbprint(certificate: Pair) -> str:
    der = ssl.PEM_cert_to_DER_cert(Path(certificate[0]).read_text())
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


@contextmanager
def served(folder: Path, *, with_ca: bool, **more: str) -> Iterator[World]:
    pki = Pki(folder)
    authority, own = Authority.make(at=NOW), self_signed()
    options = ["--tls-cert", str(pki.server_cert), "--tls-key", str(pki.server_key)]
    if with_ca:
        bundle = folder / "clients.pem"
        bundle.write_text(authority.pem + own.pem)
        options += ["--client-ca", str(bundle)]
    environment = {"DAYPASS_SERVER__CLIENT_CERTIFICATES": "optional", "DAYPASS_SERVER__PUBLIC_URL": "{url}", **more}
    ours = ssl.create_default_context(cafile=str(pki.ca))  # it has no certificate
    with running(folder / "data", *options, environment=environment, tls=ours) as server:
        yield World(
            server,
            pki,
            authority,
            files(folder, "known", authority.host("CN=client", at=NOW)),
            files(folder, "own", own),
            files(folder, "unknown", self_signed()),
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with served(tmp_path_factory.mktemp("certificates"), with_ca=True) as made:
        yield made


@pytest.fixture(scope="module")
def without_ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two processes, to which nobody vouches for any client."""
    with served(tmp_path_factory.mktemp("without-ca"), with_ca=False, DAYPASS_SERVER__WORKERS="2") as made:
        yield made


@pytest.mark.parametrize("kind", ["world", "without_ca"])
def test_tls_client_auth_binds_the_token_to_the_certificate(request: pytest.FixtureRequest, kind: str) -> None:
    world: World = request.getfixturevalue(kind)
    anywhere = world.server.client("rolesanywhere", verify=str(world.pki.ca))
    source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": world.authority.pem}}
    anchor = anywhere.create_trust_anchor(name="clients", source=source, enabled=True)["trustAnchor"]
    client_id = world.client(
        "by-authority",
        token_endpoint_auth_method="tls_client_auth",
        tls_client_auth_subject_dn="CN=client",
        trust_anchor=anchor["trustAnchorArn"],
    )
    text = world.token(client_id, world.known)["access_token"]
    seen = world.ask("/oauth2/introspect", {"token": text}, world.known, text)
    assert seen.json()["cnf"] == {"x5t#S256": thumbprint(world.known)}
    for other in (None, world.self_signed):
        assert world.ask("/oauth2/introspect", {"token": text}, other, text).status_code == 401
        form = {"grant_type": "client_credentials", "client_id": client_id}
        refused = world.ask("/oauth2/token", form, other)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("kind", ["world", "without_ca"])
def test_self_signed_tls_client_auth_needs_no_authority(request: pytest.FixtureRequest, kind: str) -> None:
    """With `client_ca` the certificate is in it."""
    world: World = request.getfixturevalue(kind)
    client_id = world.client(
        "self-signed",
        token_endpoint_auth_method="self_signed_tls_client_auth",
        tls_client_certificates=[thumbprint(world.self_signed)],
    )
    text = world.token(client_id, world.self_signed)["access_token"]
    seen = world.ask("/oauth2/introspect", {"token": text}, world.self_signed, text)
    assert seen.json()["cnf"] == {"x5t#S256": thumbprint(world.self_signed)}
    form = {"grant_type": "client_credentials", "client_id": client_id}
    for other in (None, world.known):
        assert world.ask("/oauth2/token", form, other).json()["error"] == "invalid_client"


def test_certificate_that_the_bundle_does_not_vouch_for_ends_the_handshake(world: World) -> None:
    foreign = (str(world.pki.foreign_cert), str(world.pki.foreign_key))
    for stranger in (world.unknown, foreign):
        with pytest.raises(requests.ConnectionError):
            world.ask("/oauth2/token", {}, stranger)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a258_certificate_that_nobody_vouches_for_proves_its_own_client_alone(
    without_ca: World, version: ssl.TLSVersion
) -> None:
    """Whoever has the key of any certificate may connect; it is that of no other client, also on a resumed connection."""
    world = without_ca
    client_id = world.client(
        f"nobody-else-{version}",
        token_endpoint_auth_method="self_signed_tls_client_auth",
        tls_client_certificates=[thumbprint(world.self_signed)],
    )
    outcomes = []
    for certificate in (world.self_signed, world.unknown, None):
        context = ssl.create_default_context(cafile=str(world.pki.ca))
        context.minimum_version = context.maximum_version = version
        if certificate is not None:
            context.load_cert_chain(*certificate)
        session = None
        for _ in range(2):
            status, session = token_over(world.server.url, context, client_id, session)
            outcomes.append(status)
    assert outcomes == [200, 200, 401, 401, 401, 401]


def token_over(
    url: str, context: ssl.SSLContext, client_id: str, session: ssl.SSLSession | None
) -> tuple[int, ssl.SSLSession | None]:
    """The status of a token request with a large body, and the session of TLS that a next connection resumes."""
    host, _, port = url.removeprefix("https://").partition(":")
    body = urlencode({"grant_type": "client_credentials", "client_id": client_id, "ignored": "x" * 100_000}).encode()
    head = f"POST /oauth2/token HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n"
    with (
        socket.create_connection((host, int(port)), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname=host, session=session) as secured,
    ):
        secured.sendall(f"{head}content-type: application/x-www-form-urlencoded\r\n\r\n".encode() + body)
        answer = b"".join(iter(lambda: secured.recv(65_536), b""))
        return int(answer.split(b" ", 2)[1]), secured.session


def test_certificate_header_of_a_client_is_dropped_where_there_is_no_proxy(world: World) -> None:
    client_id = world.client(
        "smuggled",
        token_endpoint_auth_method="self_signed_tls_client_auth",
        tls_client_certificates=[thumbprint(world.self_signed)],
    )
    der = ssl.PEM_cert_to_DER_cert(Path(world.self_signed[0]).read_text())
    header = {"Client-Cert": f":{base64.b64encode(der).decode()}:"}
    form = {"grant_type": "client_credentials", "client_id": client_id}
    refused = requests.post(
        f"{world.server.url}/oauth2/token", data=form, headers=header, verify=str(world.pki.ca), timeout=60
    )
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
