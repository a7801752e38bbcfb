"""Attacks on SAML: wrapping, foreign keys, comments, replay, other people's providers. Over the wire, through the record."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from signxml import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
from tests.attack.installation import ALPHA, BETA, ROOT, ROOT_OF_BETA, Answer, Installation, document, form, installed
from tests.saml_idp import AWS_ACS, NS, Response, certificate_text, ec_key, encode, metadata, rsa_key, sign

CANARY = "canary-of-the-subject@example.com"
PROVIDER = f"arn:aws:iam::{ALPHA}:saml-provider/idp"
ROLE = f"arn:aws:iam::{ALPHA}:role/federated"
FOREIGN = f"arn:aws:iam::{BETA}:saml-provider/idp"
Check = Callable[..., dict[str, object]]


def saml_trust(provider: str, **more: Any) -> str:
    condition = {"StringEquals": {"saml:aud": AWS_ACS}}
    actions = ["sts:AssumeRoleWithSAML", "sts:TagSession", "sts:SetSourceIdentity"]
    return document({"Principal": {"Federated": provider}, "Action": actions, "Condition": condition, **more})


@pytest.fixture(scope="module", autouse=True)
def providers(site: Installation) -> None:
    """The same identity provider in two accounts, with a role for it in each."""
    for root, arn in ((ROOT, PROVIDER), (ROOT_OF_BETA, FOREIGN)):
        site.iam("CreateSAMLProvider", root, Name="idp", SAMLMetadataDocument=metadata([rsa_key(), ec_key()]))
        site.role("federated", saml_trust(arn), root)


_ids = iter(range(10_000))


def made(site: Installation, **more: Any) -> Response:
    """A response that would do: each test spoils one thing."""
    number = next(_ids)
    known = {
        "roles": [f"{ROLE},{PROVIDER}"],
        "subject": CANARY,
        "now": site.now(),
        "assertion_id": f"_a{number}",
        "response_id": f"_r{number}",
    }
    return Response(**{**known, **more})


def assume(site: Installation, assertion: str, role: str = ROLE, provider: str = PROVIDER) -> Answer:
    body = form("AssumeRoleWithSAML", {"RoleArn": role, "PrincipalArn": provider, "SAMLAssertion": assertion})
    return site.send("POST", [(b"content-type", b"application/x-www-form-urlencoded")], body)


def refuse(site: Installation, refused: Check, text: str, code: str = "InvalidIdentityToken", status: int = 400) -> str:
    """The assertion is refused, on the record, without a session; the message."""
    answer = assume(site, encode(text))
    record = refused(answer, code, status)
    assert CANARY not in answer.body.decode()
    assert encode(text)[:200] not in json.dumps(record)
    assert record["account"] == ALPHA
    assert not site.run(sessions(site, record))
    return answer.text("Message")


async def sessions(site: Installation, record: dict[str, Any]) -> list[Any]:
    return [r for r in site.records(record["request_id"]) if r["type"] == "session.issued"]


def test_untouched_assertion_gives_a_session(site: Installation) -> None:
    answer = assume(site, made(site).encoded())
    assert answer.status == 200, answer.body
    assert answer.text("Subject") == CANARY
    who = site.call(answer.key, "GetCallerIdentity")
    assert who.text("Arn") == f"arn:aws:sts::{ALPHA}:assumed-role/federated/ann"


def test_a616_assertion_of_a_provider_that_is_deleted_while_it_is_verified_gives_no_session(
    site: Installation, refused: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = f"arn:aws:iam::{ALPHA}:saml-provider/slow"
    site.iam("CreateSAMLProvider", ROOT, Name="slow", SAMLMetadataDocument=metadata([rsa_key(), ec_key()]))
    role = site.role("slow", saml_trust(arn), ROOT)

    def asked() -> Answer:
        return assume(site, made(site, roles=[f"{role},{arn}"]).encoded(), role, arn)

    assert asked().status == 200
    verify = site.runtime.env.saml.verify

    async def slowly(*given: Any) -> Any:
        assertion = await verify(*given)
        body = form("DeleteSAMLProvider", {"SAMLProviderArn": arn}, "iam")
        assert (await site.ask("POST", site.signed(ROOT, body, "iam"), body)).status == 200
        return assertion

    monkeypatch.setattr(site.runtime.env.saml, "verify", slowly)
    refused(asked(), "InvalidIdentityToken", 400)


# --- A28 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["assertion", "response"])
def test_a28_comment_in_a_name_does_not_cut_it_short(site: Installation, what: str) -> None:
    spoilt = made(site, subject="admin@example.com<!-- -->.evil.example", plain_subject=False)
    answer = assume(site, spoilt.encoded(what=what))
    assert answer.text("Subject") == "admin@example.com.evil.example"


def test_a28_comment_put_in_after_signing_changes_nothing(site: Installation) -> None:
    text = made(site, subject="admin@example.com.evil.example").signed()
    cut = text.replace("admin@example.com.evil", "admin@example.com<!-- -->.evil")
    assert cut != text
    assert assume(site, encode(cut)).text("Subject") == "admin@example.com.evil.example"


def test_a28_element_in_a_name_is_refused(site: Installation, refused: Check) -> None:
    spoilt = made(site, subject="admin<b>x</b>", plain_subject=False)
    refuse(site, refused, spoilt.signed())


# --- A29 -------------------------------------------------------------------------------------------------------------


def test_a29_key_in_the_document_is_not_taken(site: Installation, refused: Check) -> None:
    mallory = rsa_key("mallory")
    message = refuse(site, refused, made(site).signed(mallory))
    assert "Response signature invalid" in message


def test_a29_certificate_of_the_provider_does_not_stand_in_for_its_key(site: Installation, refused: Check) -> None:
    mallory = rsa_key("mallory")
    text = made(site).signed(mallory)
    refuse(site, refused, text.replace(certificate_text(mallory)[:60], certificate_text(rsa_key())[:60]))
    told = re.sub(r"<ds:X509Certificate>[^<]*", f"<ds:X509Certificate>{certificate_text(rsa_key())}", text)
    refuse(site, refused, told)


def test_a29_foreign_key_info_is_ignored(site: Installation) -> None:
    text = made(site).signed()
    told = re.sub(r"<ds:X509Certificate>[^<]*", f"<ds:X509Certificate>{certificate_text(rsa_key('mallory'))}", text)
    assert told != text
    assert assume(site, encode(told)).status == 200


@pytest.mark.parametrize(
    "algorithm",
    [
        "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
        "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
        "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
        "http://www.w3.org/2009/xmldsig11#dsa-sha256",
        "none",
        "",
    ],
)
def test_a29_other_signature_algorithm_is_refused(site: Installation, refused: Check, algorithm: str) -> None:
    text = made(site).signed().replace(SignatureMethod.RSA_SHA256.value, algorithm)
    assert "algorithm is not allowed" in refuse(site, refused, text)


def test_a29_sha1_is_refused_though_the_key_is_right(site: Installation, refused: Check) -> None:
    refuse(site, refused, made(site).signed(method=SignatureMethod.RSA_SHA1))
    refuse(site, refused, made(site).signed(digest=DigestAlgorithm.SHA1))
    inclusive = CanonicalizationMethod.CANONICAL_XML_1_0
    refuse(site, refused, made(site).signed(c14n=inclusive))


def test_a29_two_signed_infos_are_refused(site: Installation, refused: Check) -> None:
    text = made(site).signed()
    info = re.search(r"<ds:SignedInfo>.*?</ds:SignedInfo>", text, re.DOTALL)
    assert info
    refuse(site, refused, text.replace(info[0], info[0] + info[0]))
    evil = info[0].replace("<ds:DigestValue>", "<ds:DigestValue>AAAA")
    refuse(site, refused, text.replace(info[0], evil + info[0]))
    refuse(site, refused, text.replace(info[0], info[0] + evil))


def test_a29_comment_in_a_digest_is_refused(site: Installation, refused: Check) -> None:
    text = made(site).signed().replace("<ds:DigestValue>", "<ds:DigestValue>AAAA<!-- -->")
    assert "comment" in refuse(site, refused, text)


@pytest.mark.parametrize("where", ["SignatureValue", "DigestValue"])
def test_a29_altered_value_is_refused(site: Installation, refused: Check, where: str) -> None:
    text = made(site).signed()
    at = text.index(f"<ds:{where}>") + len(f"<ds:{where}>")
    refuse(site, refused, text[:at] + ("B" if text[at] == "A" else "A") + text[at + 1 :])


def test_a29_signature_by_an_ec_key_under_the_name_of_rsa_is_refused(site: Installation, refused: Check) -> None:
    text = made(site).signed(ec_key())
    refuse(site, refused, text.replace(SignatureMethod.ECDSA_SHA256.value, SignatureMethod.RSA_SHA256.value))


def test_a29_unsigned_response_is_refused(site: Installation, refused: Check) -> None:
    assert "signed" in refuse(site, refused, made(site).signed(what="none"))


# --- A30 -------------------------------------------------------------------------------------------------------------

_BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))
_XSLT = (
    '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:template match="/">'
    "<xsl:for-each select='//. | //@*'><xsl:for-each select='//. | //@*'/></xsl:for-each></xsl:template></xsl:stylesheet>"
)
HOSTILE = {
    "dtd": "<!DOCTYPE a><samlp:Response/>",
    "external entity": '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>',
    "external dtd": '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/evil.dtd"><a/>',
    "entity bomb": f'<!DOCTYPE a [<!ENTITY a0 "aaaaaaaaaa">{_BOMB}]><a>&a8;</a>',
    "nesting": "<a>" * 9_000 + "</a>" * 9_000,
    "open nesting": "<a>" * 24_000,
    "many elements": "<a>" + "<b/>" * 12_000 + "</a>",
    "many attributes": "<a " + " ".join(f'b{n}=""' for n in range(5_000)) + "/>",
    "many namespaces": "<a " + " ".join(f'xmlns:b{n}="u:{n}"' for n in range(3_000)) + "/>",
    "instruction": '<?xml-stylesheet href="http://127.0.0.1:1/x"?><a/>',
    "utf-16": "<a/>".encode("utf-16"),
    "utf-7": b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE a+AD4-<a/>',
    "not utf-8": b"<a>\xff</a>",
    "nothing": "",
    "text": "hello",
    "long name": "<" + "a" * 70_000 + "/>",
    "nul": "<a>\0</a>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a30_hostile_document_is_refused_at_once(site: Installation, refused: Check, name: str) -> None:
    text = HOSTILE[name]
    encoded = encode(text) or "===="
    began = time.process_time()
    answer = assume(site, encoded)
    assert time.process_time() - began < 3  # it takes 50 ms; entities that are expanded take minutes
    refused(answer, "InvalidIdentityToken", 400)


@pytest.mark.parametrize(
    ("levels", "status", "code"), [(30_000, 400, "ValidationError"), (200_000, 413, "RequestEntityTooLarge")]
)
def test_a30_deep_nesting_is_over_the_limits_before_it_is_parsed(
    site: Installation, levels: int, status: int, code: str
) -> None:
    began = time.process_time()
    answer = assume(site, encode("<a>" * levels))
    assert time.process_time() - began < 3
    assert (answer.status, answer.code) == (status, code)


@pytest.mark.parametrize(
    "transform",
    [
        f'<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116">{_XSLT}</ds:Transform>',
        '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath>//a</ds:XPath></ds:Transform>',
        '<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#base64"/>',
    ],
)
def test_a30_other_transform_is_refused(site: Installation, refused: Check, transform: str) -> None:
    text = made(site).signed()
    refuse(site, refused, text.replace("</ds:Transforms>", f"{transform}</ds:Transforms>"))
    refuse(
        site,
        refused,
        re.sub(r"<ds:Transforms>.*?</ds:Transforms>", f"<ds:Transforms>{transform}</ds:Transforms>", text),
    )


@pytest.mark.parametrize("reference", ["", "#xpointer(/)", "http://127.0.0.1:1/x", "file:///etc/passwd", "#_other"])
def test_a30_reference_to_anything_else_is_refused(site: Installation, refused: Check, reference: str) -> None:
    response = made(site)
    refuse(site, refused, response.signed().replace(f'URI="#{response.assertion_id}"', f'URI="{reference}"'))


# --- A31 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ID", "Id", "id", "AssertionID", "xml:id"])
def test_a31_two_elements_of_one_id_are_refused(site: Installation, refused: Check, name: str) -> None:
    response = made(site)
    text = response.signed().replace("<samlp:Status>", f'<samlp:Status {name}="{response.assertion_id}">')
    assert "same ID" in refuse(site, refused, text)


def _xsw(number: int, response: Response) -> str:
    """The eight shapes of signature wrapping (Somorovsky et al., "On Breaking SAML", 2012), with an evil subject."""
    from copy import deepcopy

    evil_subject = "mallory@evil.example"
    whole = response.signed(what="response" if number in (1, 2) else "assertion")
    root = etree.fromstring(whole)
    spoil = deepcopy(root)
    path = "ds:Signature" if number in (1, 2) else "saml:Assertion/ds:Signature"
    signature = root.find(path, NS)
    evil = spoil.find("saml:Assertion", NS)
    evil.find("saml:Subject/saml:NameID", NS).text = evil_subject
    assertion = root.find("saml:Assertion", NS)
    if number in (1, 2):
        evil_root = spoil
        evil_root.set("ID", "_evil-response")
        own = evil_root.find("ds:Signature", NS)
        evil_root.remove(own)
        original = deepcopy(root)
        original.remove(original.find("ds:Signature", NS))
        kept = deepcopy(signature)
        if number == 1:
            kept.append(original)
            evil_root.insert(1, kept)
        else:
            evil_root.insert(1, kept)
            evil_root.insert(2, original)
        return etree.tostring(evil_root).decode()
    evil.set("ID", "_evil-assertion")
    evil.remove(evil.find("ds:Signature", NS))
    evil = deepcopy(evil)
    if number == 3:
        root.insert(list(root).index(assertion), evil)
    elif number == 4:
        root.remove(assertion)
        root.append(evil)
        evil.append(assertion)
    elif number == 5:
        stripped = deepcopy(assertion)
        assertion.find("saml:Subject/saml:NameID", NS).text = evil_subject
        assertion.set("ID", "_evil-assertion")
        stripped.remove(stripped.find("ds:Signature", NS))
        root.append(stripped)
    elif number == 6:
        stripped = deepcopy(assertion)
        stripped.remove(stripped.find("ds:Signature", NS))
        assertion.find("saml:Subject/saml:NameID", NS).text = evil_subject
        assertion.set("ID", "_evil-assertion")
        assertion.find("ds:Signature", NS).append(stripped)
    elif number == 7:
        extensions = etree.Element(f"{{{NS['samlp']}}}Extensions")
        extensions.append(evil)
        root.insert(list(root).index(assertion), extensions)
    else:
        stripped = deepcopy(assertion)
        stripped.remove(stripped.find("ds:Signature", NS))
        assertion.find("saml:Subject/saml:NameID", NS).text = evil_subject
        assertion.set("ID", "_evil-assertion")
        holder = etree.SubElement(assertion.find("ds:Signature", NS), f"{{{NS['ds']}}}Object")
        holder.append(stripped)
    return etree.tostring(root).decode()


@pytest.mark.parametrize("number", range(1, 9))
def test_a31_signature_wrapping_is_refused(site: Installation, refused: Check, number: int) -> None:
    text = _xsw(number, made(site))
    assert "mallory@evil.example" in text
    refuse(site, refused, text)


def test_a31_signed_assertion_beside_an_encrypted_or_second_one_is_refused(site: Installation, refused: Check) -> None:
    response = made(site)
    inner = sign(response.assertion(), rsa_key(), response.assertion_id)
    other = made(site).assertion("")
    for text in (inner + other, other + inner, inner + f"<saml:EncryptedAssertion>{other}</saml:EncryptedAssertion>"):
        assert "exactly one assertion" in refuse(site, refused, response.wrap(text))


def test_a31_void_canonicalisation_prefix_list_is_refused(site: Installation, refused: Check) -> None:
    bad = '<ec:InclusiveNamespaces xmlns:ec="http://www.w3.org/2001/10/xml-exc-c14n#" PrefixList="a&#10;b"/></ds:Transform>'
    text = made(site).signed()
    spoilt = re.sub(r'(<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#")/>', rf"\1>{bad}", text)
    assert spoilt != text
    refuse(site, refused, spoilt)


@pytest.mark.parametrize("place", ["Subject", "Conditions", "AttributeStatement", "Issuer"])
def test_a31_altered_content_is_refused(site: Installation, refused: Check, place: str) -> None:
    text = made(site).signed()
    spoilt = {
        "Subject": text.replace(CANARY, "mallory@evil.example"),
        "Conditions": text.replace("</saml:Audience>", "</saml:Audience><saml:Audience>urn:more</saml:Audience>"),
        "AttributeStatement": text.replace(">ann<", ">root<"),
        "Issuer": text.replace("idp.example.com/metadata", "idp.example.com/metadata2"),
    }[place]
    assert spoilt != text
    refuse(site, refused, spoilt)


# --- A32 -------------------------------------------------------------------------------------------------------------


def test_a32_second_use_is_refused(site: Installation, refused: Check) -> None:
    assertion = made(site).encoded()
    assert assume(site, assertion).status == 200
    record = refused(assume(site, assertion), "InvalidIdentityToken", 400)
    assert "once" in json.dumps(record) or "replay" in json.dumps(record)


def test_a32_signing_the_same_assertion_in_another_wrapping_is_still_the_second_use(
    site: Installation, refused: Check
) -> None:
    response = made(site)
    assert assume(site, response.encoded(what="assertion")).status == 200
    refused(assume(site, response.encoded(what="both")), "InvalidIdentityToken", 400)
    refused(assume(site, response.encoded(what="response")), "InvalidIdentityToken", 400)


def test_a32_of_thirty_at_once_one_wins(site: Installation) -> None:
    assertion = made(site).encoded()
    body = form("AssumeRoleWithSAML", {"RoleArn": ROLE, "PrincipalArn": PROVIDER, "SAMLAssertion": assertion})

    async def all_at_once() -> list[int]:
        answers = await asyncio.gather(*(site.ask("POST", (), body) for _ in range(30)))
        return sorted(answer.status for answer in answers)

    assert site.run(all_at_once()) == [200] + [400] * 29


def test_a32_use_is_remembered_by_other_processes_and_after_a_restart(tmp_path: Path) -> None:
    with installed(tmp_path) as first:
        first.iam("CreateSAMLProvider", Name="idp", SAMLMetadataDocument=metadata())
        first.role("federated", saml_trust(PROVIDER))
        assertions = [made(first).encoded() for _ in range(3)]
        with installed(tmp_path, first.wall) as second:
            assert assume(first, assertions[0]).status == 200
            assert assume(second, assertions[0]).code == "InvalidIdentityToken"
            assert assume(second, assertions[1]).status == 200
            assert assume(first, assertions[1]).code == "InvalidIdentityToken"
            won = [assume(site, assertions[2]).status for _ in range(5) for site in (second, first)]
            assert sorted(won) == [200] + [400] * 9
        wall = first.wall
    with installed(tmp_path, wall) as again:
        assert [assume(again, assertion).code for assertion in assertions] == ["InvalidIdentityToken"] * 3


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        ({"recipient": "https://signin.aws.amazon.com.evil.example/saml"}, "Recipient"),
        ({"recipient": "https://other.example.com/acs"}, "Recipient"),
        ({"recipient": ""}, "Recipient"),
        ({"recipient": AWS_ACS + "/"}, "Recipient"),
        ({"destination": "https://other.example.com/acs"}, "Destination"),
        ({"audience": "urn:other"}, "audience"),
        ({"audience": "urn:amazon:webservices2"}, "audience"),
        ({"audience": ""}, "audience"),
        ({"in_response_to": "_daypass-0123"}, "InResponseTo"),
        ({"issuer": "https://idp.example.com/other"}, "another issuer"),
    ],
)
def test_a32_response_for_somebody_else_is_refused(
    site: Installation, refused: Check, spoilt: dict[str, str], told: str
) -> None:
    assert told in refuse(site, refused, made(site, **spoilt).signed())
    assert told in refuse(site, refused, made(site, **spoilt).signed(what="both"))


@pytest.mark.parametrize(
    ("offset", "code"),
    [
        ({"issued_at": -301_000 - 60_000}, "ExpiredTokenException"),
        ({"issued_at": 120_000}, "InvalidIdentityToken"),
        ({"not_before": 120_000}, "InvalidIdentityToken"),
        ({"not_on_or_after": -61_000}, "ExpiredTokenException"),
        ({"session_ends_at": -1_000}, "ExpiredTokenException"),
    ],
)
def test_a32_response_of_another_time_is_refused(
    site: Installation, refused: Check, offset: dict[str, int], code: str
) -> None:
    now = site.now()
    text = made(site, now=now, **{name: now + by for name, by in offset.items()}).signed()
    message = refuse(site, refused, text, code)
    assert "this server's time is" in message
    assert "60 seconds of leeway" in message


def test_a32_failed_login_is_no_login(site: Installation, refused: Check) -> None:
    failed = "urn:oasis:names:tc:SAML:2.0:status:Responder"
    refuse(site, refused, made(site, status=failed).signed(what="both"), "IDPRejectedClaim", 403)


# --- A33, and what an anonymous caller learns ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "provider", "pairs"),
    [
        (f"arn:aws:iam::{BETA}:role/federated", PROVIDER, [(f"arn:aws:iam::{BETA}:role/federated", PROVIDER)]),
        (ROLE, FOREIGN, [(ROLE, FOREIGN)]),
        (ROLE, PROVIDER, [(f"arn:aws:iam::{BETA}:role/federated", FOREIGN)]),
        (ROLE, PROVIDER, [(f"arn:aws:iam::{ALPHA}:role/other", PROVIDER)]),
        (ROLE, PROVIDER, [(ROLE, FOREIGN)]),
        (ROLE, PROVIDER, [(ROLE.replace("federated", "Federated"), PROVIDER)]),
        (ROLE, PROVIDER, []),
        (f"arn:aws:iam::{ALPHA}:role/nobody", PROVIDER, [(f"arn:aws:iam::{ALPHA}:role/nobody", PROVIDER)]),
    ],
)
def test_a33_role_and_provider_that_do_not_belong_together_are_denied_alike(
    site: Installation, refused: Check, role: str, provider: str, pairs: list[tuple[str, str]]
) -> None:
    response = made(site, roles=[",".join(pair) for pair in pairs])
    answer = assume(site, response.encoded(), role, provider)
    refused(answer, "AccessDenied", 403, "request.denied")
    # A decision of a trust policy can be explained, so its denial ends with the request id.
    assert answer.text("Message").partition(" (request ")[0] == "Not authorized to perform sts:AssumeRoleWithSAML"


def test_a33_provider_that_is_not_there_answers_as_one_with_other_keys(site: Installation, refused: Check) -> None:
    stranger = made(site).encoded(rsa_key("mallory"))
    texts = set()
    for provider in (PROVIDER, f"{PROVIDER}2", PROVIDER.replace(ALPHA, "999999999999"), PROVIDER.replace("idp", "IDP")):
        answer = assume(site, stranger, ROLE, provider)
        refused(answer, "InvalidIdentityToken", 400)
        texts.add(answer.text("Message"))
    assert len(texts) == 1


# --- A326 ------------------------------------------------------------------------------------------------------------


def api(site: Installation, key: Any, path: str, value: Any, method: str = "POST") -> Answer:
    body = json.dumps(value).encode()
    extra = {"content-type": "application/json"}
    headers = site.signed(key, body, "daypass", method=method, path=f"/api/v1{path}", extra=extra)
    return site.send(method, headers, body, path=f"/api/v1{path}".encode())


def test_a326_person_with_a_new_name_at_each_sign_in_does_not_approve_the_own_request(site: Installation) -> None:
    """The person signs in twice: the first session requests, and the second would approve."""
    broker = site.role("broker", saml_trust(PROVIDER), policy=document({"Action": "daypass:*", "Resource": "*"}))
    people = {"principals": ["role/broker"]}
    rule = {"roles": ["role/federated"], "requesters": people, "stages": [{"approvers": people}]}
    assert api(site, ROOT, "/approval-rules/federated", {"document": json.dumps(rule)}, "PUT").status == 200
    transient = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"

    def signed_in(subject: str, **more: str) -> Any:
        response = made(site, roles=[f"{broker},{PROVIDER}"], subject=subject, **more)
        return assume(site, response.encoded(), broker).key

    first, second, other = (
        signed_in("_one", name_format=transient),
        signed_in("_two", name_format=transient, session_name="mel"),
        signed_in("bob", session_name="bob"),
    )
    wanted = {"roles": [ROLE], "reason": "Incident 42: orders are not written"}
    refused = api(site, first, "/access-requests", wanted)
    assert (refused.status, b"transient NameID" in refused.body) == (403, True)
    request = json.loads(api(site, other, "/access-requests", wanted).body)
    vote = {"binding": request["binding"]}
    refused = api(site, second, f"/access-requests/{request['id']}/approve", vote)
    assert (refused.status, b"transient NameID" in refused.body) == (403, True)
    assert (
        api(site, signed_in("kim", session_name="kim"), f"/access-requests/{request['id']}/approve", vote).status == 200
    )


# --- A363 ------------------------------------------------------------------------------------------------------------


def test_a363_name_in_another_format_is_the_same_person(site: Installation) -> None:
    """An application asks a provider for the format of the name, so that one person has a persistent name and an address."""
    broker = f"arn:aws:iam::{ALPHA}:role/brokers"
    site.role("brokers", saml_trust(PROVIDER))
    allow = document({"Action": "daypass:*AccessRequest", "Resource": "*"})
    site.iam("PutRolePolicy", RoleName="brokers", PolicyName="p", PolicyDocument=allow)
    people = {"principals": ["role/brokers"]}
    rule = {"roles": ["role/federated"], "requesters": people, "stages": [{"approvers": people, "threshold": 2}]}
    assert api(site, ROOT, "/approval-rules/federated", {"document": json.dumps(rule)}, "PUT").status == 200

    def signed_in(subject: str, name: str, kind: str) -> Any:
        response = made(
            site,
            roles=[f"{broker},{PROVIDER}"],
            subject=subject,
            session_name=name,
            name_format=f"urn:oasis:names:tc:SAML:{kind}",
        )
        return assume(site, response.encoded(), broker).key

    persistent, address = "2.0:nameid-format:persistent", "1.1:nameid-format:emailAddress"
    wanted = {"roles": [ROLE], "reason": "Incident 42: orders are not written"}
    request = json.loads(api(site, signed_in("G-1", "mel", persistent), "/access-requests", wanted).body)
    path, vote = f"/access-requests/{request['id']}/approve", {"binding": request["binding"]}
    own = api(site, signed_in("mel@example.com", "Mel", address), path, vote)
    assert (own.status, b"Nobody approves their own" in own.body) == (403, True)
    assert site.records(own.request_id)[0]["error"]
    assert api(site, signed_in("G-2", "lee", persistent), path, vote).status == 200
    again = json.loads(api(site, signed_in("lee@example.com", "lee", address), path, vote).body)
    assert again["state"] == "pending"
    assert json.loads(api(site, signed_in("G-3", "kim", persistent), path, vote).body)["state"] == "approved"
