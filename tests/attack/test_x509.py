"""Attacks on X.509 sessions: certificates and signatures that prove nothing, and other people's anchors, profiles and roles."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.attack.installation import ALPHA, EVERYTHING, ROOT, ROOT_OF_BETA, Answer, Installation, document, installed
from tests.attack.meanwhile import EXPENSIVE, change, slowly
from tests.x509 import NOW, Authority, Holder, SlowKey, body, certify, key_usage, name, sign

from daypass.domain.directory import TrustAnchor, X509Profile
from daypass.ports import Tx

DENIED = "Untrusted certificate."
TRUST = document(
    {
        "Principal": {"Service": "rolesanywhere.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
    }
)
MS = int(NOW.timestamp() * 1000)


@dataclass
class Plant:
    """An account's trust anchor, profile and role, with the authority behind them."""

    site: Installation
    authority: Authority
    arns: dict[str, str]
    key: tuple[str, ...]

    def rest(self, method: str, path: str, content: dict[str, Any] | None = None, query: str = "") -> Any:
        """One call of the service's REST API by the account's root."""
        raw = json.dumps(content).encode() if content is not None else b""
        more = {"method": method, "path": path, "query": query, "extra": {"content-type": "application/json"}}
        headers = self.site.signed(self.key, raw, "rolesanywhere", **more)
        answer = self.site.send(method, headers, raw, path=path.encode(), query=query.encode())
        assert answer.status in (200, 201), answer.body
        return json.loads(answer.body)

    def ask(
        self, holder: Holder, *, chain: tuple[Holder, ...] = (), asked: dict[str, Any] | None = None, **changed: Any
    ) -> Answer:
        raw = body(self.arns, **(asked or {}))
        now = changed.pop("now", 0) or self.site.now()
        headers = sign(holder, raw, now, chain=chain, **changed)
        return self.site.send("POST", headers, raw, path=b"/sessions")


def build(site: Installation, key: tuple[str, ...], name: str, trusted: str = TRUST) -> Plant:
    plant = Plant(site, Authority.make(f"CN={name} root"), {}, key)
    source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": plant.authority.pem}}
    anchor = plant.rest("POST", "/trustanchors", {"name": name, "source": source, "enabled": True})["trustAnchor"]
    role = site.role(f"{name}-host", trusted, key, EVERYTHING)
    made = {"name": name, "roleArns": [role], "enabled": True}
    profile = plant.rest("POST", "/profiles", made)["profile"]
    plant.arns = {"anchor": anchor["trustAnchorArn"], "role": role, "profile": profile["profileArn"]}
    return plant


@pytest.fixture(scope="module")
def plants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Plant, Plant]]:
    """Alpha's and beta's."""
    settings = {"server": {"trusted_proxies": ["10.0.0.0/8"], "client_certificate_header": "X-Forwarded-Client-Cert"}}
    data = tmp_path_factory.mktemp("site")
    settings["server"]["data"] = str(data)
    with installed(data, **settings) as site:
        yield build(site, ROOT, "alpha"), build(site, ROOT_OF_BETA, "beta")


@pytest.fixture
def plant(plants: tuple[Plant, Plant]) -> Plant:
    return plants[0]


def refused(plant: Plant, answer: Answer, message: str = DENIED, code: str = "AccessDeniedException") -> dict[str, Any]:
    """The refusal is in AWS's form, tells nothing more, gives nothing out, and is on the record."""
    assert answer.headers["x-amzn-errortype"] == code, answer.body
    told = json.loads(answer.body)
    assert told["message"] == message or (message.endswith("…") and told["message"].startswith(message[:-1]))
    assert set(told) <= {"message", "encodedAuthorizationMessage"}
    (record,) = plant.site.records(answer.request_id)
    assert record["error"]
    assert record["operation"] == "rolesanywhere:CreateSession"
    assert record["type"] != "session.issued"
    assert code == "ValidationException" or record.get("decision") or reason(record)
    return record


def reason(record: dict[str, Any]) -> str:
    return str(record["detail"]["private"]["reason"])


def given(answer: Answer) -> dict[str, Any]:
    assert answer.status == 201, answer.body
    return dict(json.loads(answer.body))


def test_create_session_of_the_anchors_host_gives_credentials_that_work(plant: Plant) -> None:
    answer = given(plant.ask(plant.authority.host("O=Acme/CN=host-1", serial=0xBEEF)))
    (made,) = answer["credentialSet"]
    assert made["sourceIdentity"] == "CN=host-1"
    assert made["assumedRoleUser"]["arn"] == f"arn:aws:sts::{ALPHA}:assumed-role/alpha-host/beef"
    assert answer["subjectArn"].startswith(f"arn:aws:rolesanywhere:eu-central-1:{ALPHA}:subject/")
    credentials = made["credentials"]
    key = (credentials["accessKeyId"], credentials["secretAccessKey"], credentials["sessionToken"])
    assert plant.site.call(key, "GetCallerIdentity").text("Arn") == made["assumedRoleUser"]["arn"]
    assert plant.site.call(key, "ListRoles", service="iam").status == 200


@pytest.mark.parametrize("what", ["trust anchor", "profile"])
def test_a617_create_session_whose_anchor_or_profile_changes_while_it_is_decided_is_refused(
    plants: tuple[Plant, Plant], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    trusted = document({**json.loads(TRUST)["Statement"][0], **EXPENSIVE})
    plant = build(plants[0].site, ROOT, what.replace(" ", "-"), trusted)
    kind, name = (TrustAnchor, "anchor") if what == "trust anchor" else (X509Profile, "profile")

    def disable(tx: Tx) -> None:
        found = tx.get(kind, id=plant.arns[name].rpartition("/")[2])
        assert found is not None
        tx.replace(replace(found, enabled=False))

    slowly(plant.site, monkeypatch, "_admitted", lambda: change(plant.site, disable))
    record = refused(plant, plant.ask(plant.authority.host("O=Acme/CN=host-1")))
    assert reason(record) == f"the {what} changed meanwhile"


def test_create_session_is_counted_by_its_outcome(plant: Plant) -> None:
    before = plant.site.attempts("rolesanywhere:CreateSession")
    given(plant.ask(plant.authority.host("O=Acme/CN=host-1")))
    assert plant.ask(Authority.make("CN=other").host("O=Acme/CN=host-1")).status == 403
    after = plant.site.attempts("rolesanywhere:CreateSession")
    assert after["issued"] == before.get("issued", 0) + 1
    assert sum(after.values()) == sum(before.values()) + 2


def test_parameters_of_the_query_string_count_as_those_of_the_body_and_must_not_differ(plant: Plant) -> None:
    """Older signing helpers put the ARNs into the query string."""
    host = plant.authority.host()
    pairs = {"profileArn": "profile", "roleArn": "role", "trustAnchorArn": "anchor"}
    query = "&".join(f"{name}={quote(plant.arns[part], safe='')}" for name, part in sorted(pairs.items()))

    def ask(raw: bytes) -> Answer:
        headers = sign(host, raw, plant.site.now(), query=query)
        return plant.site.send("POST", headers, raw, path=b"/sessions", query=query.encode())

    given(ask(b'{"durationSeconds": 900}'))
    given(ask(body(plant.arns)))
    told = ask(body({**plant.arns, "role": plant.arns["role"] + "x"}))
    refused(plant, told, "roleArn must be there once.", "ValidationException")


def test_request_as_the_public_signing_helper_writes_it_is_served(plant: Plant) -> None:
    """It signs Content-Length too, sends the certificate in the body once more, and nulls for what it has not."""
    middle = Authority.make("CN=issuing", plant.authority)
    host = middle.host("O=Acme/CN=host-1", key=rsa.generate_private_key(65537, 2048))
    content = {
        "cert": host.base64,
        "durationSeconds": 900,
        "instanceProperties": None,
        "profileArn": plant.arns["profile"],
        "roleArn": plant.arns["role"],
        "sessionName": None,
        "trustAnchorArn": plant.arns["anchor"],
    }
    raw = json.dumps(content).encode()
    headers = sign(host, raw, plant.site.now(), chain=(middle,), extra={"content-length": str(len(raw))})
    unsigned = (b"user-agent", b"CredHelper/1.7.1 (go1.24; linux; amd64)")
    answer = given(plant.site.send("POST", [*headers, unsigned], raw, path=b"/sessions"))
    assert set(answer) == {"credentialSet", "subjectArn"}
    (made,) = answer["credentialSet"]
    assert set(made) == {"assumedRoleUser", "credentials", "packedPolicySize", "roleArn", "sourceIdentity"}
    assert set(made["credentials"]) == {"accessKeyId", "expiration", "secretAccessKey", "sessionToken"}
    assert made["roleArn"] == plant.arns["role"]


# --- Certificates ----------------------------------------------------------------------------------------------------


def test_expired_and_future_certificates_are_refused(plant: Plant) -> None:
    for holder in (plant.authority.host(start=-9, days=5), plant.authority.host(start=2)):
        record = refused(plant, plant.ask(holder))
        assert "no valid path" in reason(record)
        assert record["account"] == ALPHA


def test_revoked_certificate_is_refused_within_the_same_second_and_others_are_not(plant: Plant) -> None:
    gone, host = plant.authority.host("CN=gone"), plant.authority.host("CN=stays")
    given(plant.ask(gone))
    data = base64.b64encode(plant.authority.crl(gone.certificate.serial_number)).decode()
    crl = plant.rest(
        "POST", "/crls", {"name": "revoked", "crlData": data, "trustAnchorArn": plant.arns["anchor"], "enabled": True}
    )["crl"]
    try:
        assert "is revoked" in reason(refused(plant, plant.ask(gone)))
        given(plant.ask(host))
        old = base64.b64encode(plant.authority.crl(start=-9, days=5)).decode()
        plant.rest("PATCH", f"/crl/{crl['crlId']}", {"crlData": old})
        assert "not in force" in reason(refused(plant, plant.ask(host)))
        plant.rest("POST", f"/crl/{crl['crlId']}/disable")
        given(plant.ask(host))
    finally:
        plant.rest("DELETE", f"/crl/{crl['crlId']}")


def test_certificate_of_another_authority_of_the_same_name_is_refused(plant: Plant) -> None:
    forged = Authority.make("CN=alpha root")
    host = plant.authority.host()
    for holder in (forged.host(), forged.host(serial=host.certificate.serial_number)):
        refused(plant, plant.ask(holder))
        refused(plant, plant.ask(holder, chain=(forged,)))
        refused(plant, plant.ask(holder, chain=(plant.authority,)))


def test_leaf_that_plays_authority_is_refused(plant: Plant) -> None:
    host = plant.authority.host()
    refused(plant, plant.ask(Authority(host.key, host.certificate).host("CN=admin"), chain=(host,)))


def test_authorities_themselves_are_no_hosts(plant: Plant) -> None:
    middle = Authority.make("CN=issuing", plant.authority)
    refused(plant, plant.ask(plant.authority))
    refused(plant, plant.ask(middle))
    given(plant.ask(middle.host(), chain=(middle,)))


def test_wrong_key_usage_and_wrong_purpose_are_refused(plant: Plant) -> None:
    server = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    refused(plant, plant.ask(plant.authority.host(extensions=((key_usage("key_encipherment"), True),))))
    refused(plant, plant.ask(plant.authority.host(also=(server,))))


def test_name_outside_of_the_issuers_constraint_is_refused(plant: Plant) -> None:
    constraint = x509.NameConstraints([x509.DNSName("line1.acme.example")], None)
    issuer = Authority.make("CN=line 1", plant.authority, also=((constraint, True),))
    given(plant.ask(issuer.host(sans=[x509.DNSName("a.line1.acme.example")]), chain=(issuer,)))
    refused(plant, plant.ask(issuer.host(sans=[x509.DNSName("a.line2.acme.example")]), chain=(issuer,)))


@pytest.mark.parametrize(
    ("allowed", "good", "subject"),
    [
        (x509.DNSName("line1.acme.example"), x509.DNSName("a.line1.acme.example"), "CN=a.line2.acme.example"),
        (x509.RFC822Name("acme.example"), x509.RFC822Name("ann@acme.example"), "CN=ann/E=eve@other.example"),
    ],
)
def test_name_in_the_subject_alone_does_not_get_around_the_issuers_constraint(
    plant: Plant, allowed: x509.GeneralName, good: x509.GeneralName, subject: str
) -> None:
    constraint = x509.NameConstraints([allowed], None)
    issuer = Authority.make("CN=constrained", plant.authority, also=((constraint, True),))
    refused(plant, plant.ask(issuer.host(subject), chain=(issuer,)))
    refused(plant, plant.ask(issuer.host(subject, sans=[good]), chain=(issuer,)))
    same = f"CN={good.value}" if isinstance(good, x509.DNSName) else f"CN=ann/E={good.value}"
    given(plant.ask(issuer.host(same, sans=[good]), chain=(issuer,)))
    given(plant.ask(issuer.host("CN=host-1"), chain=(issuer,)))
    given(plant.ask(plant.authority.host(subject)))


def test_a440_directory_name_does_not_get_around_the_issuers_constraint(plant: Plant) -> None:
    constraint = x509.NameConstraints([x509.DNSName("line1.acme.example")], None)
    issuer = Authority.make("CN=by directory", plant.authority, also=((constraint, True),))
    host = x509.DirectoryName(name("CN=a.line2.acme.example"))
    refused(plant, plant.ask(issuer.host("CN=host-1", sans=[host]), chain=(issuer,)))
    given(plant.ask(plant.authority.host("CN=host-1", sans=[host])))


@pytest.mark.parametrize("alias", [x509.UniformResourceIdentifier("CN=admin"), x509.DNSName("CN=admin")])
def test_a440_alternative_name_that_reads_like_another_hosts_subject_is_refused(
    plant: Plant, alias: x509.GeneralName
) -> None:
    record = refused(plant, plant.ask(plant.authority.host("", sans=[alias])))
    assert reason(record) == "an alternative name that reads like a subject"
    given(plant.ask(plant.authority.host("", sans=[x509.UniformResourceIdentifier("spiffe://acme.example/a=b")])))


@pytest.mark.parametrize(
    "name", [x509.DNSName("good.example\0.evil.example"), x509.UniformResourceIdentifier("spiffe://a/b\n")]
)
def test_alternative_name_with_a_nul_or_line_end_is_refused(plant: Plant, name: x509.GeneralName) -> None:
    record = refused(plant, plant.ask(plant.authority.host("", sans=[name])))
    assert reason(record) == "an alternative name that is not plain text"


def test_chains_in_a_loop_or_too_long_are_refused(plant: Plant) -> None:
    one = Authority.make("CN=one", Authority.make("CN=two"))
    two = Authority.make("CN=two", one)
    refused(plant, plant.ask(one.host(), chain=(one, two)))
    issuers = [plant.authority]
    for level in range(6):
        issuers.append(Authority.make(f"CN=level {level}", issuers[-1]))
    refused(plant, plant.ask(issuers[-1].host(), chain=tuple(issuers[1:])))


_SHA256, _SHA1, _MD5 = (bytes.fromhex("2a864886f70d0101" + last) for last in ("0b", "05", "04"))


@pytest.mark.parametrize(("oid", "prefix", "digest"), [
    (_SHA1, "3021300906052b0e03021a05000414", hashes.SHA1()),
    (_MD5, "3020300c06082a864886f70d020505000410", hashes.MD5()),
], ids=["sha1", "md5"])  # fmt: skip
def test_certificate_signed_over_a_weak_hash_is_refused(
    plants: tuple[Plant, Plant], oid: bytes, prefix: str, digest: Any
) -> None:
    """The library makes no such certificates any more, so one is made by hand: the signature itself is correct."""
    site = plants[0].site
    weak = Authority.make("CN=weak root", key=rsa.generate_private_key(65537, 2048))
    plant = Plant(site, weak, dict(plants[0].arns), ROOT)
    source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": weak.pem}}
    made = plant.rest("POST", "/trustanchors", {"name": "weak", "source": source, "enabled": True})
    plant.arns["anchor"] = made["trustAnchor"]["trustAnchorArn"]
    strong = weak.host()
    given(plant.ask(strong))
    tbs = strong.certificate.tbs_certificate_bytes.replace(_SHA256, oid)
    hashed = hashes.Hash(digest)
    hashed.update(tbs)
    info = bytes.fromhex(prefix) + hashed.finalize()
    padded = b"\x00\x01" + b"\xff" * (256 - len(info) - 3) + b"\x00" + info
    numbers = weak.key.private_numbers()  # type: ignore[union-attr]
    signature = pow(int.from_bytes(padded), numbers.d, numbers.public_numbers.n).to_bytes(256)
    der = strong.der
    start = der.index(strong.certificate.tbs_certificate_bytes)
    forged = der[:start] + tbs + der[start + len(tbs) : -256].replace(_SHA256, oid) + signature
    assert x509.load_der_x509_certificate(forged).serial_number == strong.certificate.serial_number
    refused(plant, plant.ask(strong, certificate=base64.b64encode(forged).decode()))


def test_bytes_that_are_no_certificate_are_refused(plant: Plant) -> None:
    host = plant.authority.host()
    for text in ("", "%%%", "AAAA", host.base64 + "AAAA", host.base64[:-8], "A" * 8000):
        answer = plant.ask(host, certificate=text)
        assert answer.headers["x-amzn-errortype"] in (
            "AccessDeniedException",
            "InvalidSignatureException",
            "IncompleteSignatureException",
        )
        assert answer.status == 403


# --- Signatures ------------------------------------------------------------------------------------------------------

NOT_SIGNED = "The request signature was not made with the key of the certificate in X-Amz-X509, or for another request."
BAD = "InvalidSignatureException"


def test_certificate_without_its_key_is_refused_before_anything_is_looked_up(plant: Plant) -> None:
    host, thief = plant.authority.host(), plant.authority.host("CN=thief")
    stolen = {"certificate": host.base64, "serial": str(host.certificate.serial_number)}
    refused(plant, plant.ask(thief, **stolen), NOT_SIGNED, BAD)
    plant.arns["anchor"], kept = plant.arns["anchor"][:-1] + "0", plant.arns["anchor"]
    try:
        refused(plant, plant.ask(thief, **stolen), NOT_SIGNED, BAD)
    finally:
        plant.arns["anchor"] = kept


def test_scope_that_names_another_serial_number_is_refused(plant: Plant) -> None:
    host = plant.authority.host()
    record = refused(plant, plant.ask(host, serial="1"), NOT_SIGNED, BAD)
    assert "serial" in reason(record)
    for serial in ("", "１２", "-1", "0x1f", "1" * 60):
        answer = plant.ask(host, serial=serial) if serial.isascii() else None
        if answer is not None:
            assert answer.headers["x-amzn-errortype"] == "IncompleteSignatureException"


def test_signature_over_another_body_is_refused(plant: Plant) -> None:
    host = plant.authority.host()
    raw = body(plant.arns)
    headers = sign(host, raw, plant.site.now())
    for other in (body(plant.arns, durationSeconds=43_200), raw + b" ", b""):
        refused(plant, plant.site.send("POST", headers, other, path=b"/sessions"), NOT_SIGNED, BAD)
    refused(
        plant, plant.site.send("POST", headers, raw, path=b"/sessions", query=b"durationSeconds=900"), NOT_SIGNED, BAD
    )


@pytest.mark.parametrize(
    ("header", "value"),
    [("host", b"other.test"), ("x-amz-date", None), ("content-type", b"text/plain"), ("x-amz-x509-chain", b"AAAA")],
)
def test_headers_that_differ_from_the_signed_ones_are_refused(plant: Plant, header: str, value: bytes | None) -> None:
    host, middle = plant.authority.host(), Authority.make("CN=issuing", plant.authority)
    raw = body(plant.arns)
    now = plant.site.now()
    later = sign(host, raw, now + 1000)
    headers = [
        (name, (value if value is not None else dict(later)[name]) if name == header.encode() else text)
        for name, text in sign(host, raw, now, chain=(middle,))
    ]
    refused(plant, plant.site.send("POST", headers, raw, path=b"/sessions"), NOT_SIGNED, BAD)


@pytest.mark.parametrize("name", ["x-amz-x509", "x-amz-date", "host", "x-amz-x509-chain"])
def test_headers_that_are_not_under_the_signature_are_refused(plant: Plant, name: str) -> None:
    host, middle = plant.authority.host(), Authority.make("CN=issuing", plant.authority)
    names = [n for n in ("content-type", "host", "x-amz-date", "x-amz-x509", "x-amz-x509-chain") if n != name]
    answer = plant.ask(host, chain=(middle,), names=";".join(names))
    refused(plant, answer, f"'{'Host' if name == 'host' else name}…", BAD)


def test_headers_that_are_there_twice_are_refused(plant: Plant) -> None:
    host, other = plant.authority.host(), plant.authority.host("CN=other")
    raw = body(plant.arns)
    headers = sign(host, raw, plant.site.now())
    for extra in (
        (b"x-amz-x509", other.base64.encode()),
        (b"authorization", b"x"),
        (b"x-amz-date", b"20270115T080000Z"),
    ):
        answer = plant.site.send("POST", [*headers, extra], raw, path=b"/sessions")
        refused(plant, answer, "Header '…", "IncompleteSignatureException")


def test_signature_of_another_time_service_or_algorithm_is_refused(plant: Plant) -> None:
    host = plant.authority.host()
    for now, word in (
        (plant.site.now() - 301_000, "Signature expired"),
        (plant.site.now() + 310_000, "Signature not yet current"),
    ):
        refused(plant, plant.ask(host, now=now), f"{word}…", BAD)
    refused(plant, plant.ask(host, service="sts"), "Credential should be scoped to correct service…", BAD)
    refused(plant, plant.ask(host, algorithm="AWS4-X509-RSA-SHA256"), NOT_SIGNED, BAD)
    for algorithm in ("AWS4-X509-ECDSA-SHA1", "AWS4-HMAC-SHA256", "none"):
        refused(
            plant, plant.ask(host, algorithm=algorithm), "The Authorization header…", "IncompleteSignatureException"
        )


def test_replayed_signature_gives_nothing_more_and_dies_with_its_window(plant: Plant) -> None:
    """As with AWS a signature may come again while its time is current; each session it gets is on the record."""
    host = plant.authority.host()
    raw = body(plant.arns)
    headers = sign(host, raw, plant.site.now())
    answers = [plant.site.send("POST", headers, raw, path=b"/sessions") for _ in range(2)]
    marks = {plant.site.records(a.request_id)[0]["actor"]["federated"]["signature"] for a in answers}
    assert len(marks) == 1
    plant.site.wall.time += 301_000
    refused(plant, plant.site.send("POST", headers, raw, path=b"/sessions"), "Signature expired…", BAD)


# --- Other people's --------------------------------------------------------------------------------------------------


def test_other_accounts_and_absent_anchors_profiles_and_roles_read_the_same(plants: tuple[Plant, Plant]) -> None:
    alpha, beta = plants
    host, kept = alpha.authority.host(), dict(alpha.arns)
    told: dict[str, set[bytes]] = {}
    try:
        for part in ("anchor", "profile", "role"):
            absent = kept[part][:-4] + "0000"
            for arn in (beta.arns[part], absent, absent.replace(ALPHA, "999999999999")):
                alpha.arns = {**kept, part: arn}
                answer = alpha.ask(host)
                told.setdefault(part, set()).add(answer.body)
                message = DENIED if part == "anchor" else "Not authorized to use this profile for this role."
                record = refused(alpha, answer, message)
                owner = arn.split(":")[4] if part == "anchor" and arn == beta.arns[part] else ALPHA
                assert record.get("account", owner) == owner
    finally:
        alpha.arns = kept
    assert all(len(bodies) == 1 for bodies in told.values())


def test_anchor_of_one_account_opens_no_role_of_another(plants: tuple[Plant, Plant]) -> None:
    """Alpha cannot even put beta's role into a profile, and beta's trust in the service is trust in beta's anchors."""
    alpha, beta = plants
    raw = json.dumps({"name": "x", "roleArns": [beta.arns["role"]], "enabled": True}).encode()
    more = {"method": "POST", "path": "/profiles", "extra": {"content-type": "application/json"}}
    answer = alpha.site.send("POST", alpha.site.signed(ROOT, raw, "rolesanywhere", **more), raw, path=b"/profiles")
    assert answer.headers["x-amzn-errortype"] in ("ValidationException", "AccessDeniedException")


def test_disabled_anchor_profile_and_role_outside_of_the_profile_are_refused(plant: Plant) -> None:
    host = plant.authority.host()
    anchor, profile = (plant.arns[part].rpartition("/")[2] for part in ("anchor", "profile"))
    plant.rest("POST", f"/trustanchor/{anchor}/disable")
    assert reason(refused(plant, plant.ask(host))) == "the trust anchor is disabled"
    plant.rest("POST", f"/trustanchor/{anchor}/enable")
    plant.rest("POST", f"/profile/{profile}/disable")
    nope = "Not authorized to use this profile for this role."
    assert reason(refused(plant, plant.ask(host), nope)) == "the profile is disabled"
    plant.rest("POST", f"/profile/{profile}/enable")
    other = plant.site.role("outside", TRUST)
    assert reason(refused(plant, plant.ask(host, asked={"roleArn": other}), nope)) == "the role is not in the profile"


def test_a616_anchor_that_is_disabled_while_a_certificate_is_verified_gives_no_session(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates, anchor = plant.site.runtime.env.certificates, plant.arns["anchor"].rpartition("/")[2]
    verify = certificates.verify

    async def slowly(*given: Any) -> Any:
        certificate = await verify(*given)
        path = f"/trustanchor/{anchor}/disable"
        headers = plant.site.signed(plant.key, b"", "rolesanywhere", method="POST", path=path)
        assert (await plant.site.ask("POST", headers, b"", path=path.encode())).status == 200
        return certificate

    monkeypatch.setattr(certificates, "verify", slowly)
    assert reason(refused(plant, plant.ask(plant.authority.host()))) == "the trust anchor changed meanwhile"
    monkeypatch.undo()
    plant.rest("POST", f"/trustanchor/{anchor}/enable")
    given(plant.ask(plant.authority.host()))


def test_role_that_trusts_another_anchor_or_subject_is_not_given(plant: Plant) -> None:
    condition = {
        "ArnEquals": {"aws:SourceArn": plant.arns["anchor"]},
        "StringEquals": {"aws:PrincipalTag/x509Subject/OU": "Ops", "sts:SourceIdentity": "CN=host-1"},
    }
    actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    statement = {"Principal": {"Service": "rolesanywhere.amazonaws.com"}, "Action": actions, "Condition": condition}
    role = plant.site.role("ops", document(statement))
    profile = plant.arns["profile"].rpartition("/")[2]
    plant.rest("PATCH", f"/profile/{profile}", {"roleArns": [plant.arns["role"], role]})
    given(plant.ask(plant.authority.host("OU=Ops/CN=host-1"), asked={"roleArn": role}))
    for subject in (
        "OU=Dev/CN=host-1",
        "OU=Ops/CN=host-2",
        "OU=ops/CN=host-1",
        "OU=Ops/OU=Dev/CN=host-1",
        "CN=host-1",
        "OU=Ops",
    ):
        record = refused(
            plant, plant.ask(plant.authority.host(subject), asked={"roleArn": role}), "Not authorized to perform sts:…"
        )
        assert record["account"] == ALPHA
    deaf = plant.site.role(
        "deaf", document({"Principal": {"AWS": f"arn:aws:iam::{ALPHA}:root"}, "Action": "sts:AssumeRole"})
    )
    plant.rest("PATCH", f"/profile/{profile}", {"roleArns": [plant.arns["role"], role, deaf]})
    answer = plant.ask(plant.authority.host("OU=Ops/CN=host-1"), asked={"roleArn": deaf})
    refused(plant, answer, "Not authorized to perform sts:…")


def test_session_cannot_be_asked_wider_or_longer_than_the_profile(plant: Plant) -> None:
    host = plant.authority.host()
    asked = {"durationSeconds": 7200}
    code = "ValidationException"
    refused(plant, plant.ask(host, asked=asked), "The requested duration exceeds…", code)
    refused(plant, plant.ask(host, asked={"roleSessionName": "root"}), "This profile does not accept…", code)
    refused(plant, plant.ask(host, asked={"cert": plant.authority.base64}), "cert is not the certificate…", code)
    refused(plant, plant.ask(host, asked={"durationSeconds": True}), "1 validation error…", code)


def test_session_ends_with_its_certificate(plant: Plant) -> None:
    """A certificate that ends in ten minutes gives no session of an hour."""
    started = plant.site.now()
    left = (started - MS + 600_000) / 86_400_000
    answer = given(plant.ask(plant.authority.host(start=0, days=left)))
    expiration = answer["credentialSet"][0]["credentials"]["expiration"]
    ends = datetime.strptime(expiration, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp() * 1000
    assert started + 590_000 < ends <= started + 601_000


# --- TLS and proxies -------------------------------------------------------------------------------------------------


def by_tls(
    plant: Plant, *, peer: str, certificate: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None
) -> Answer:
    """A request without a signature, as it comes from a peer that showed this certificate."""
    raw = body(plant.arns)
    application, site = plant.site.application, plant.site

    async def call(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await application({**scope, "client": (peer, 4), "daypass.client_certificate": certificate}, receive, send)

    site.application = call
    try:
        return site.send("POST", [(b"host", b"daypass.test"), *(headers or [])], raw, path=b"/sessions")
    finally:
        site.application = application


def xfcc(holder: Holder) -> tuple[bytes, bytes]:
    return b"x-forwarded-client-cert", f'Hash=ab;Cert="{quote(holder.pem, safe="")}";Subject="CN=x,O=\\"y\\""'.encode()


NO_TOKEN = "Request is missing Authentication Token"
MISSING = "MissingAuthenticationTokenException"


def test_certificate_of_the_tls_connection_and_of_a_trusted_proxys_header_give_the_same_facts(plant: Plant) -> None:
    host = plant.authority.host("O=Acme/CN=host-1", serial=0xBEEF)
    answers = [
        plant.ask(host),
        by_tls(plant, peer="192.0.2.9", certificate=host.der),
        by_tls(plant, peer="10.1.2.3", headers=[xfcc(host)]),
    ]
    ways, facts = [], []
    for answer in answers:
        assert given(answer)["credentialSet"][0]["sourceIdentity"] == "CN=host-1"
        (record,) = plant.site.records(answer.request_id)
        ways.append(record["actor"]["federated"]["proved_by"])
        facts.append((record["detail"]["tags"], record["detail"]["name"], record["actor"]["principal_id"]))
    assert ways == ["signature", "tls", "proxy"]
    assert facts[0] == facts[1] == facts[2]


def test_a76_client_supplied_certificate_header_is_dropped_and_recorded(plant: Plant) -> None:
    host = plant.authority.host()
    escaped = quote(host.pem, safe="").encode()
    for header in (xfcc(host), (b"client-cert", b":" + host.base64.encode() + b":"), (b"ssl-client-cert", escaped)):
        for peer in ("192.0.2.9", "11.0.0.1", "127.0.0.1"):
            answer = by_tls(plant, peer=peer, headers=[header])
            record = refused(plant, answer, NO_TOKEN, MISSING)
            assert record["detail"]["dropped_headers"] == [header[0].decode()]
            assert "account" not in record


def test_a76_header_that_the_proxy_is_not_configured_for_is_dropped_even_from_the_proxy(plant: Plant) -> None:
    host = plant.authority.host()
    answer = by_tls(plant, peer="10.1.2.3", headers=[(b"client-cert", b":" + host.base64.encode() + b":")])
    refused(plant, answer, NO_TOKEN, MISSING)


def test_a76_certificate_of_the_proxy_itself_is_not_its_clients(plant: Plant) -> None:
    """A proxy with a certificate of the anchor's authority must not lend its name to all who come through it."""
    proxy = plant.authority.host("CN=proxy")
    refused(plant, by_tls(plant, peer="10.1.2.3", certificate=proxy.der), NO_TOKEN, MISSING)


def test_a76_same_common_name_from_another_authority_is_refused(plant: Plant) -> None:
    forged = Authority.make("CN=alpha root").host("O=Acme/CN=host-1")
    refused(plant, by_tls(plant, peer="10.1.2.3", headers=[xfcc(forged)]))
    refused(plant, by_tls(plant, peer="192.0.2.9", certificate=forged.der))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Hash=ab",
        b'Cert="%%%"',
        b'Cert=""',
        b'Cert="A";Cert="B"',
        b'Cert="A',
        b"\xff" * 50,
        b"Cert=-----BEGIN CERTIFICATE-----AAAA-----END CERTIFICATE-----junk",
        b'"' * 2000,
        b"Cert=" + b"A" * 7000,
    ],
)
def test_a76_header_that_is_not_exactly_one_certificate_is_refused(plant: Plant, value: bytes) -> None:
    answer = by_tls(plant, peer="10.1.2.3", headers=[(b"x-forwarded-client-cert", value)])
    assert answer.status in (400, 403)
    assert answer.headers["x-amzn-errortype"] in ("ValidationException", "AccessDeniedException")


def test_a76_two_elements_or_two_headers_are_ambiguous_and_refused(plant: Plant) -> None:
    host, other = plant.authority.host(), plant.authority.host("CN=other")
    joined = (b"x-forwarded-client-cert", xfcc(other)[1] + b"," + xfcc(host)[1])
    for headers in ([joined], [xfcc(other), xfcc(host)]):
        answer = by_tls(plant, peer="10.1.2.3", headers=headers)
        refused(plant, answer, "The client certificate header of the proxy cannot be read.", "ValidationException")


def test_signature_beside_a_tls_certificate_is_the_one_that_counts(plant: Plant) -> None:
    host = plant.authority.host()
    raw = body(plant.arns)
    headers = sign(host, raw, plant.site.now())[:-1]
    answer = by_tls(
        plant, peer="192.0.2.9", certificate=host.der, headers=[*headers[2:], (b"authorization", b"AWS4-X509-x")]
    )
    refused(plant, answer, "The Authorization header…", "IncompleteSignatureException")


# --- Managing --------------------------------------------------------------------------------------------------------


def test_role_is_offered_to_certificates_only_by_who_may_pass_it(plant: Plant) -> None:
    _, key = plant.site.user("pki", policy=document({"Action": "rolesanywhere:*", "Resource": "*"}))
    raw = json.dumps({"name": "mine", "roleArns": [plant.arns["role"]], "enabled": True}).encode()
    more = {"method": "POST", "path": "/profiles", "extra": {"content-type": "application/json"}}
    answer = plant.site.send("POST", plant.site.signed(key, raw, "rolesanywhere", **more), raw, path=b"/profiles")
    assert answer.headers["x-amzn-errortype"] == "AccessDeniedException"
    assert b"iam:PassRole" in answer.body
    patch = json.dumps({"roleArns": [plant.arns["role"], plant.site.role("more", TRUST)]}).encode()
    path = f"/profile/{plant.arns['profile'].rpartition('/')[2]}"
    more = {"method": "PATCH", "path": path, "extra": {"content-type": "application/json"}}
    answer = plant.site.send("PATCH", plant.site.signed(key, patch, "rolesanywhere", **more), patch, path=path.encode())
    assert b"iam:PassRole" in answer.body


def test_resources_of_another_account_read_as_those_that_are_not_there(plants: tuple[Plant, Plant]) -> None:
    alpha, beta = plants
    _, key = alpha.site.user("reader", policy=document({"Action": "*", "Resource": "*"}))
    there, absent = (arn.rpartition("/")[2] for arn in (beta.arns["anchor"], beta.arns["anchor"][:-4] + "0000"))
    told = []
    for anchor in (there, absent):
        path = f"/trustanchor/{anchor}"
        more = {"method": "GET", "path": path}
        answer = alpha.site.send("GET", alpha.site.signed(key, b"", "rolesanywhere", **more), path=path.encode())
        told.append((answer.status, answer.headers["x-amzn-errortype"], answer.body.replace(anchor.encode(), b"ID")))
    assert told[0] == told[1]
    assert told[0][:2] == (404, "ResourceNotFoundException")


def test_request_for_another_service_or_without_signature_is_refused(plant: Plant) -> None:
    for service in ("sts", "iam"):
        more = {"method": "GET", "path": "/trustanchors"}
        answer = plant.site.send("GET", plant.site.signed(ROOT, b"", service, **more), path=b"/trustanchors")
        assert answer.headers["x-amzn-errortype"] == "InvalidSignatureException"
    assert plant.site.send("GET", path=b"/trustanchors").headers["x-amzn-errortype"] == MISSING


def test_a100_private_key_among_an_anchors_certificates_is_refused_and_not_on_the_record(plant: Plant) -> None:
    secret = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    both = plant.authority.pem + secret.decode()
    source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": both}}
    raw = json.dumps({"name": "both", "source": source}).encode()
    headers = plant.site.signed(
        plant.key, raw, "rolesanywhere", path="/trustanchors", extra={"content-type": "application/json"}
    )
    answer = plant.site.send("POST", headers, raw, path=b"/trustanchors")
    assert answer.status == 400
    assert b"a private key among the certificates" in answer.body
    (record,) = plant.site.records(answer.request_id)
    kept = json.dumps(record)
    assert "BEGIN CERTIFICATE" in kept
    assert secret.decode().splitlines()[5] not in kept
    assert "PRIVATE KEY" not in kept
    crl = base64.b64encode(plant.authority.crl() + secret).decode()
    raw = json.dumps({"name": "list", "trustAnchorArn": plant.arns["anchor"], "crlData": crl}).encode()
    headers = plant.site.signed(
        plant.key, raw, "rolesanywhere", path="/crls", extra={"content-type": "application/json"}
    )
    assert plant.site.send("POST", headers, raw, path=b"/crls").status == 400


def test_a114_keys_with_a_long_exponent_are_refused_before_the_arithmetic(plant: Plant) -> None:
    slow: Any = SlowKey()
    middle = Authority.make("CN=slow", plant.authority, key=slow)
    leaf = Holder(
        plant.authority.key, certify("CN=host", plant.authority.key, (plant.authority.key, name("CN=slow")), ())
    )
    record = refused(plant, plant.ask(leaf, chain=(middle,)))
    assert "public exponent of 3070 bits" in reason(record)


def test_nothing_secret_is_on_the_record(plant: Plant) -> None:
    answer = given(plant.ask(plant.authority.host()))
    credentials = answer["credentialSet"][0]["credentials"]
    everything = b"".join(plant.site.record_bytes())
    assert credentials["secretAccessKey"].encode() not in everything
    assert credentials["sessionToken"].encode() not in everything


def test_certify_makes_what_it_says() -> None:
    """The forger's tools are honest where they should be."""
    authority = Authority.make()
    made = certify("CN=x", authority.key, (authority.key, authority.certificate.subject), ())
    made.verify_directly_issued_by(authority.certificate)


def test_revoked_host_loses_its_sessions_and_gets_no_others(plant: Plant) -> None:
    host, other = plant.authority.host("O=Acme/CN=stolen"), plant.authority.host("O=Acme/CN=host-2")
    credentials = given(plant.ask(host))["credentialSet"][0]["credentials"]
    key = (credentials["accessKeyId"], credentials["secretAccessKey"], credentials["sessionToken"])
    given(plant.ask(host))
    principal = f"{plant.arns['anchor']}:CN=stolen,O=Acme"
    raw = json.dumps({"subject": "principal", "value": principal, "block": True}).encode()
    more = {"path": "/api/v1/revocations", "extra": {"content-type": "application/json"}}
    made = plant.site.send("POST", plant.site.signed(ROOT, raw, "daypass", **more), raw, path=b"/api/v1/revocations")
    assert made.status == 201, made.body
    assert plant.site.call(key, "GetCallerIdentity").code == "ExpiredToken"
    answer = plant.ask(host)
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    given(plant.ask(other))
