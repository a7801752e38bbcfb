"""Identity providers that are not ours (pysaml2, npm's samlp), stock clients, and the command line, against a running server."""

from __future__ import annotations

import base64
import contextlib
import html
import http.client
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.e2e.conftest import OPERATOR, Server, running, session_key
from tests.node import run_script, why_not
from tests.saml_idp import AWS_ATTRIBUTES, certificate, encode, metadata, pem, rsa_key

pytestmark = pytest.mark.slow

BASE = "https://daypass.example.com"
ACS, ENTITY = f"{BASE}/saml/acs", f"{BASE}/saml/metadata"
XMLSEC = shutil.which("xmlsec1")
needs_xmlsec = pytest.mark.skipif(not XMLSEC, reason="pysaml2 needs the xmlsec1 program")
needs_node = pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can run")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("saml"), environment={"DAYPASS_SERVER__PUBLIC_URL": BASE}) as started:
        yield started


def made(server: Server, document: str, **more: Any) -> tuple[str, str]:
    """A provider of this metadata and a role for it: their ARNs."""
    name, iam = f"idp-{secrets.token_hex(4)}", server.client("iam")
    provider = iam.create_saml_provider(Name=name, SAMLMetadataDocument=document, **more)["SAMLProviderArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": provider},
        "Action": ["sts:AssumeRoleWithSAML", "sts:TagSession"],
        "Condition": {"StringEquals": {"saml:sub": "ann", "saml:sub_type": "persistent"}},
    }
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return provider, iam.create_role(RoleName=f"saml-{name}", AssumeRolePolicyDocument=trust)["Role"]["Arn"]


def attributes(provider: str, role: str) -> dict[str, str]:
    return {
        f"{AWS_ATTRIBUTES}Role": f"{role},{provider}",
        f"{AWS_ATTRIBUTES}RoleSessionName": "ann",
        f"{AWS_ATTRIBUTES}PrincipalTag:Team": "core",
    }


def anonymous(server: Server) -> Any:
    """boto3's client of the token service, without a key: the call is unsigned."""
    settings = Config(signature_version=UNSIGNED, retries={"max_attempts": 0})
    return boto3.client("sts", endpoint_url=server.url, region_name="eu-central-1", config=settings)


COOKIES: dict[str, str] = {}


def visit(url: str, method: str = "GET", **form: str) -> tuple[int, str, str]:
    """As a browser that follows nothing by itself, and keeps cookies: status, where it is led, the page."""
    parts = urlsplit(url)
    browser = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    with contextlib.closing(browser):
        headers = {"content-type": "application/x-www-form-urlencoded", "origin": BASE} if form else {}
        if COOKIES:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in COOKIES.items())
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        browser.request(method, target, urlencode(form) or None, headers)
        answer = browser.getresponse()
        if cookie := answer.getheader("set-cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            COOKIES[name] = value
        return answer.status, answer.getheader("location", ""), answer.read().decode()


# --- pysaml2 ---------------------------------------------------------------------------------------------------------


class PySaml2:
    """pysaml2's identity provider. It knows us by our metadata, and signs with xmlsec."""

    def __init__(self, server: Server, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it uses ciphers by their old names
            from saml2 import BINDING_HTTP_REDIRECT
            from saml2.config import IdPConfig
            from saml2.metadata import create_metadata_string
            from saml2.server import Server as Provider

            ours = visit(f"{server.url}/saml/metadata")[2]
            (folder / "sp.xml").write_text(ours)
            (folder / "key.pem").write_bytes(pem(rsa_key("pysaml2")))
            (folder / "cert.pem").write_bytes(certificate(rsa_key("pysaml2")).public_bytes(Encoding.PEM))
            self.issuer = f"https://{secrets.token_hex(4)}.example.com/idp"
            idp = {
                "endpoints": {"single_sign_on_service": [("https://idp.example.com/sso", BINDING_HTTP_REDIRECT)]},
                "policy": {"default": {"lifetime": {"minutes": 5}}},
            }
            self.provider = Provider(
                config=IdPConfig().load(
                    {
                        "entityid": self.issuer,
                        "xmlsec_binary": XMLSEC,
                        "key_file": str(folder / "key.pem"),
                        "cert_file": str(folder / "cert.pem"),
                        "service": {"idp": idp},
                        "metadata": {"local": [str(folder / "sp.xml")]},
                    }
                )
            )
            self.metadata = create_metadata_string(None, config=self.provider.config).decode()

    def respond(self, given: dict[str, str], *, assertion: bool = True, response: bool = False, to: str = "") -> str:
        from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID

        return str(
            self.provider.create_authn_response(
                given,
                in_response_to=to or None,
                destination=ACS,
                sp_entity_id=ENTITY,
                name_id=NameID(format=NAMEID_FORMAT_PERSISTENT, text="ann"),
                authn={"class_ref": "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"},
                sign_assertion=assertion,
                sign_response=response,
                sign_alg="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
                digest_alg="http://www.w3.org/2001/04/xmlenc#sha256",
            )
        )

    def answer(self, url: str, given: dict[str, str]) -> str:
        """Logs in whoever comes with our AuthnRequest."""
        from saml2 import BINDING_HTTP_REDIRECT

        asked = parse_qs(urlsplit(url).query)["SAMLRequest"][0]
        request = self.provider.parse_authn_request(asked, BINDING_HTTP_REDIRECT).message
        assert self.provider.response_args(request)["sp_entity_id"] == ENTITY
        return self.respond(given, to=request.id)


@pytest.fixture(scope="module")
def pysaml2(server: Server, tmp_path_factory: pytest.TempPathFactory) -> PySaml2:
    return PySaml2(server, tmp_path_factory.mktemp("pysaml2"))


@needs_xmlsec
@pytest.mark.parametrize(("assertion", "response"), [(True, False), (False, True)])
def test_pysaml2_response_borrows_a_role_with_boto3(
    server: Server, pysaml2: PySaml2, assertion: bool, response: bool
) -> None:
    provider, role = made(server, pysaml2.metadata)
    text = pysaml2.respond(attributes(provider, role), assertion=assertion, response=response)
    asked = {"RoleArn": role, "PrincipalArn": provider, "SAMLAssertion": encode(text)}
    answer = anonymous(server).assume_role_with_saml(**asked)
    assert (answer["Subject"], answer["SubjectType"], answer["Issuer"]) == ("ann", "persistent", pysaml2.issuer)
    assert answer["Audience"] == ACS
    me = server.client("sts", session_key(answer)).get_caller_identity()["Arn"]
    assert me == f"arn:aws:sts::{OPERATOR}:assumed-role/{role.rpartition('/')[2]}/ann"
    with pytest.raises(ClientError) as caught:
        anonymous(server).assume_role_with_saml(**asked)
    assert caught.value.response["Error"]["Code"] == "InvalidIdentityToken"


@needs_xmlsec
def test_pysaml2_unsigned_or_altered_response_is_refused(server: Server, pysaml2: PySaml2) -> None:
    provider, role = made(server, pysaml2.metadata)
    unsigned = pysaml2.respond(attributes(provider, role), assertion=False)
    altered = pysaml2.respond(attributes(provider, role)).replace(">ann<", ">bob<")
    for text in (unsigned, altered):
        with pytest.raises(ClientError) as caught:
            anonymous(server).assume_role_with_saml(RoleArn=role, PrincipalArn=provider, SAMLAssertion=encode(text))
        assert caught.value.response["Error"]["Code"] == "InvalidIdentityToken"


@needs_xmlsec
def test_command_line_logs_in_by_browser_with_pysaml2(server: Server, pysaml2: PySaml2, tmp_path: Path) -> None:
    provider, role = made(server, pysaml2.metadata)
    command = [sys.executable, "-m", "daypass.cli.main"]
    environment = {**os.environ, "DAYPASS_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    given = ["login", "--saml", "--no-browser", "--endpoint", server.url, "--provider", provider]
    with subprocess.Popen([*command, *given], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ran:
        try:
            assert ran.stderr is not None
            told = "".join(ran.stderr.readline().decode() for _ in range(3))
            where = re.search(r"http://127\.0\.0\.1\S+", told)
            assert where, told
            status, to_idp, _ = visit(where[0])
            assert status == 303
            text = pysaml2.answer(to_idp, attributes(provider, role))
            relay_state = parse_qs(urlsplit(to_idp).query)["RelayState"][0]
            _, _, page = visit(f"{server.url}/saml/acs", "POST", SAMLResponse=encode(text), RelayState=relay_state)
            form = {n: html.unescape(v) for n, v in re.findall(r'name="(\w+)" value="([^"]*)"', page)}
            status, back, _ = visit(f"{server.url}/saml/choose", "POST", **form)
            assert status == 303, page
            assert visit(back)[0] == 200
            out, err = ran.communicate(timeout=30)
        finally:
            ran.kill()
    assert ran.returncode == 0, err
    assert f"assumed-role/{role.rpartition('/')[2]}/ann" in out.decode()
    who = subprocess.run([*command, "whoami"], env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert role.rpartition("/")[2] in who.stdout


# --- npm's samlp -----------------------------------------------------------------------------------------------------


def samlp(folder: Path, given: dict[str, Any]) -> str:
    """A response (base64) of npm's identity provider."""
    ran = run_script("saml_idp.mjs", json.dumps(given), environment={})
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def alterations(text: str) -> Iterator[str]:
    """Altered responses, each with one difference."""
    made = [
        text.replace(">ann<", ">bob<"),
        text.replace(">core<", ">root<"),
        re.sub(r"NotOnOrAfter=\"20", 'NotOnOrAfter="21', text),
        re.sub(r"(SignatureValue>)(.)", lambda found: found[1] + ("B" if found[2] == "A" else "A"), text),
        re.sub(r"(<Signature .*?</Signature>)", "", text, flags=re.DOTALL),
        re.sub(r"(<saml:Assertion .*</saml:Assertion>)", r"\1\1", text, flags=re.DOTALL),
    ]
    for altered in made:
        assert altered != text
        yield altered


@pytest.fixture
def samlp_files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "key.pem").write_bytes(pem(rsa_key("samlp")))
    (tmp_path / "cert.pem").write_bytes(certificate(rsa_key("samlp")).public_bytes(Encoding.PEM))
    return {"key": str(tmp_path / "key.pem"), "cert": str(tmp_path / "cert.pem")}


@needs_node
@pytest.mark.parametrize(("assertion", "response"), [(True, False), (False, True)])
def test_samlp_response_borrows_a_role_with_boto3_and_no_altered_one_does(
    server: Server, tmp_path: Path, samlp_files: dict[str, str], assertion: bool, response: bool
) -> None:
    issuer = f"urn:{secrets.token_hex(4)}.example.com"
    provider, role = made(server, metadata([rsa_key("samlp")], issuer))
    text = samlp(
        tmp_path,
        {
            **samlp_files,
            "issuer": issuer,
            "audience": "urn:amazon:webservices",
            "recipient": "https://signin.aws.amazon.com/saml",
            "signAssertion": assertion,
            "signResponse": response,
            "subject": "ann",
            "attributes": attributes(provider, role),
        },
    )
    for altered in alterations(base64.b64decode(text).decode()):
        with pytest.raises(ClientError, match="InvalidIdentityToken"):
            anonymous(server).assume_role_with_saml(RoleArn=role, PrincipalArn=provider, SAMLAssertion=encode(altered))
    answer = anonymous(server).assume_role_with_saml(RoleArn=role, PrincipalArn=provider, SAMLAssertion=text)
    assert answer["Audience"] == "https://signin.aws.amazon.com/saml"
    assert server.client("sts", session_key(answer)).get_caller_identity()["Arn"].endswith("/ann")


@needs_node
def test_samlp_encrypted_assertion_is_opened_with_the_key_of_our_metadata(
    server: Server, tmp_path: Path, samlp_files: dict[str, str]
) -> None:
    issuer = f"urn:{secrets.token_hex(4)}.example.com"
    key = {"AddPrivateKey": pem(rsa_key("ours")).decode(), "AssertionEncryptionMode": "Required"}
    provider, role = made(server, metadata([rsa_key("samlp")], issuer), **key)
    name = provider.rpartition("/")[2]
    own = visit(f"{server.url}/saml/metadata/{OPERATOR}/{name}")[2]
    found = re.search(r"X509Certificate>([^<]+)", own)
    assert found
    ours = x509.load_der_x509_certificate(base64.b64decode(found[1]))
    (tmp_path / "ours.pem").write_bytes(ours.public_bytes(Encoding.PEM))
    spki = ours.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "ours-key.pem").write_bytes(spki)
    given = {
        **samlp_files,
        "issuer": issuer,
        "audience": ENTITY,
        "recipient": f"{ACS}/{OPERATOR}/{name}",
        "signAssertion": True,
        "signResponse": True,
        "subject": "ann",
        "attributes": attributes(provider, role),
    }
    sealed = {"encryptionCert": str(tmp_path / "ours.pem"), "encryptionKey": str(tmp_path / "ours-key.pem")}
    sts = anonymous(server)
    with pytest.raises(ClientError, match="encrypted"):
        sts.assume_role_with_saml(RoleArn=role, PrincipalArn=provider, SAMLAssertion=samlp(tmp_path, given))
    text = samlp(tmp_path, {**given, **sealed})
    assert b"EncryptedAssertion" in base64.b64decode(text)
    answer = sts.assume_role_with_saml(RoleArn=role, PrincipalArn=provider, SAMLAssertion=text)
    assert answer["Subject"] == "ann"
