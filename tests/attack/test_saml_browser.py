"""Attacks on logging in by browser with SAML: pages, tickets, codes, other people's logins."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.etree import ElementTree as ET
from zlib import decompress

import pytest
from tests.attack.installation import ALPHA, ROOT, Answer, Installation, document, installed
from tests.saml_idp import NS, Response, encode, metadata, pem, rsa_key

BASE = "https://daypass.example.com"
ACS = f"{BASE}/saml/acs"
ENTITY = f"{BASE}/saml/metadata"
PROVIDER = f"arn:aws:iam::{ALPHA}:saml-provider/idp"
ROLES = [f"arn:aws:iam::{ALPHA}:role/{name}" for name in ("reader", "writer")]
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
CANARY = "canary-of-the-subject@example.com"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    data: Path = tmp_path_factory.mktemp("saml")
    with installed(data, server={"data": str(data), "public_url": BASE}) as made:
        more = {"AssertionEncryptionMode": "Allowed", "AddPrivateKey": pem(rsa_key("ours")).decode()}
        made.iam("CreateSAMLProvider", Name="idp", SAMLMetadataDocument=metadata(), **more)
        trust = document({"Principal": {"Federated": PROVIDER}, "Action": "sts:AssumeRoleWithSAML"})
        for name in ("reader", "writer"):
            made.role(name, trust)
        yield made


_ids = iter(range(10_000))


def response(site: Installation, **more: Any) -> Response:
    number = next(_ids)
    known = {
        "roles": [f"{role},{PROVIDER}" for role in ROLES],
        "subject": CANARY,
        "recipient": ACS,
        "destination": ACS,
        "audience": ENTITY,
        "now": site.now(),
        "assertion_id": f"_b{number}",
        "response_id": f"_s{number}",
    }
    return Response(**{**known, **more})


COOKIE = "__Host-daypass-saml" if BASE.startswith("https:") else "daypass-saml"


def post(site: Installation, path: str, *, origin: str = "", cookie: str | None = None, **fields: str) -> Answer:
    """As a browser posts a form. `cookie`: of its header; by default what the page with this form has set."""
    headers = [(b"host", b"evil.example"), *([(b"origin", origin.encode())] if origin else [])]
    sent = _set_with.get(fields.get("csrf", "")) if cookie is None else cookie
    headers += [(b"cookie", sent.encode("latin-1"))] if sent else []
    return site.send("POST", headers, urlencode(fields).encode(), path=path.encode())


_set_with: dict[str, str] = {}
"""The cookie that a page has set, by the token of its form."""


def get(site: Installation, path: str, **query: str) -> Answer:
    return site.send("GET", [(b"host", b"evil.example")], path=path.encode(), query=urlencode(query).encode())


def fields(answer: Answer) -> list[dict[str, str]]:
    """The fields that the form of a page sends, for each of its buttons."""
    page = answer.body.decode()
    (ticket,) = re.findall(r'name="ticket" value="([^"]*)"', page)
    (token,) = re.findall(r'name="csrf" value="([^"]*)"', page)
    _set_with[token] = answer.headers["set-cookie"].partition(";")[0]
    return [
        {"ticket": ticket, "csrf": token, "choice": place}
        for place in re.findall(r'name="choice" value="([^"]*)"', page)
    ]


def roles(answer: Answer) -> list[str]:
    """The roles that a page offers."""
    return re.findall(r'aria-label="Assume role (\S+) in account', answer.body.decode())


def refused(site: Installation, answer: Answer, status: int = 400) -> dict[str, Any]:
    """An error page that is on the record, gives nothing away and cannot be cached."""
    assert answer.status == status, answer.body
    assert answer.headers["cache-control"] == "no-store"
    assert CANARY not in answer.body.decode()
    assert b"ASIA" not in answer.body
    (record,) = site.records(answer.request_id)
    assert record["error"]
    return record


def signed_in(site: Installation, **more: Any) -> Answer:
    answer = post(site, "/saml/acs", SAMLResponse=response(site, **more).encoded())
    assert answer.status == 200, answer.body
    return answer


def test_person_chooses_a_role_and_gets_its_credentials(site: Installation) -> None:
    page = signed_in(site)
    assert CANARY in page.body.decode()
    forms = fields(page)
    assert roles(page) == ["reader", "writer"]
    answer = post(site, "/saml/choose", origin=BASE, **forms[1])
    assert answer.status == 200, answer.body
    text = html.unescape(answer.body.decode())
    values = dict(re.findall(r"^export (AWS_\w+)=(\S+)$", text.replace('<code class="whole">', "\n"), re.MULTILINE))
    key = (values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"], values["AWS_SESSION_TOKEN"])
    assert values["AWS_ENDPOINT_URL"] == BASE
    assert "[daypass]" in text
    assert "$env:AWS_SESSION_TOKEN" in text
    assert site.call(key, "GetCallerIdentity").text("Arn") == f"arn:aws:sts::{ALPHA}:assumed-role/writer/ann"


def test_session_and_refusal_of_a_browser_are_counted_by_outcome(site: Installation) -> None:
    choices, logins = site.attempts("sts:AssumeRoleWithSAML"), site.attempts("daypass:SignInWithSAML")
    page = fields(signed_in(site))
    assert site.attempts("sts:AssumeRoleWithSAML") == choices, "nothing is issued before the choice"
    assert post(site, "/saml/choose", origin=BASE, **page[0]).status == 200
    assert post(site, "/saml/acs", SAMLResponse="AAAA").status == 400
    assert site.attempts("sts:AssumeRoleWithSAML")["issued"] == choices.get("issued", 0) + 1
    assert site.attempts("daypass:SignInWithSAML")["failed"] == logins.get("failed", 0) + 1


def test_choice_sets_a_cookie_that_no_other_site_can_send_or_set(site: Installation) -> None:
    page = signed_in(site)
    token = fields(page)[0]["csrf"]
    set_cookie = page.headers["set-cookie"]
    assert re.match(f"{COOKIE}=[A-Za-z0-9+/]{{40}}; Path=/; Max-Age=300; HttpOnly; SameSite=Strict", set_cookie)
    assert token not in set_cookie
    assert ("; Secure" in set_cookie) == BASE.startswith("https:")
    assert fields(signed_in(site))[0]["csrf"] != token


@pytest.mark.parametrize(
    "cookie",
    [
        *("", "{name}=", "{name}=other", "{name}={token}x", "{name}={token}; {name}={token}", "other={token}"),
        "\xa0{name}={token}",  # as another host of the domain can set it (A345)
    ],
)
def test_a88_choice_without_the_browsers_own_token_is_refused(site: Installation, cookie: str) -> None:
    form = fields(signed_in(site))[0]
    sent = cookie.format(name=COOKIE, token=_set_with[form["csrf"]].partition("=")[2])
    refused(site, post(site, "/saml/choose", origin=BASE, cookie=sent, **form), 403)
    assert post(site, "/saml/choose", **form).status == 200, "and the ticket was not used up"


@pytest.mark.parametrize("token", ["", "x", "é", "a" * 40])
def test_a88_choice_with_another_token_in_its_form_is_refused(site: Installation, token: str) -> None:
    form = fields(signed_in(site))[0]
    refused(site, post(site, "/saml/choose", cookie=_set_with[form["csrf"]], **{**form, "csrf": token}), 403)


def test_a88_choice_of_an_attackers_own_page_is_not_taken_by_a_victims_browser(site: Installation) -> None:
    """Login CSRF: the attacker has logged in, and has the victim's browser post the attacker's form."""
    attackers = fields(signed_in(site))[0]
    victims = fields(signed_in(site))[0]
    refused(site, post(site, "/saml/choose", cookie=_set_with[victims["csrf"]], **attackers), 403)


def test_a87_pages_run_no_script_and_are_not_kept(site: Installation) -> None:
    page = signed_in(site)
    for answer in (page, post(site, "/saml/choose", **fields(page)[0]), get(site, "/saml/nothing")):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; ")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
        assert b"<script" not in answer.body
        assert b"evil.example" not in answer.body


def test_refused_response_says_where_to_begin_again_and_a_denied_choice_does_not(site: Installation) -> None:
    again = b"To try again, start at your identity provider."
    assert again in post(site, "/saml/acs", SAMLResponse="AAAA").body
    denied = post(site, "/saml/choose", cookie="", **fields(signed_in(site))[0])
    assert (denied.status, again in denied.body) == (403, False)


def test_a87_markup_and_bidirectional_marks_in_an_assertion_are_inert(site: Installation) -> None:
    evil = '"><script>alert(1)</script>\u202egnp.exe'
    role = f"arn:aws:iam::{ALPHA}:role/<img src=x onerror=alert(1)>"
    page = signed_in(site, subject=evil, roles=[f"{role},{PROVIDER}"]).body.decode()
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page
    assert "\\u202e" in page


def test_a32_response_is_used_up_by_the_first_page(site: Installation) -> None:
    assertion = response(site).encoded()
    assert post(site, "/saml/acs", SAMLResponse=assertion).status == 200
    record = refused(site, post(site, "/saml/acs", SAMLResponse=assertion))
    assert record["detail"]["private"]["reason"] == "replay"


def test_a32_a_choice_gives_one_session(site: Installation) -> None:
    forms = fields(signed_in(site))
    assert post(site, "/saml/choose", **forms[0]).status == 200
    refused(site, post(site, "/saml/choose", **forms[0]))
    refused(site, post(site, "/saml/choose", **forms[1]))


def test_a32_response_made_for_aws_is_not_taken_from_a_browser(site: Installation) -> None:
    aws = response(site, recipient="https://signin.aws.amazon.com/saml", destination=None)
    refused(site, post(site, "/saml/acs", SAMLResponse=aws.encoded()))


def test_a32_response_to_a_request_that_nobody_made_is_refused(site: Installation) -> None:
    answers = response(site, in_response_to="_somebody-elses")
    refused(site, post(site, "/saml/acs", SAMLResponse=answers.encoded()))


@pytest.mark.parametrize("choice", ["1", "-1", "", "x", "\uff10", "0 ", "00", "00000", ROLES[1]])
def test_a33_role_that_was_not_offered_is_refused(site: Installation, choice: str) -> None:
    form = fields(signed_in(site, roles=[f"{ROLES[0]},{PROVIDER}", f"{ROLES[1]},{PROVIDER}2", ROLES[1]]))[0]
    refused(site, post(site, "/saml/choose", **{**form, "choice": choice}))


def test_a33_role_whose_trust_policy_says_no_is_denied(site: Installation) -> None:
    page = signed_in(site, roles=[f"arn:aws:iam::{ALPHA}:role/nobody,{PROVIDER}"])
    answer = post(site, "/saml/choose", **fields(page)[0])
    assert refused(site, answer, 403)["type"] == "request.denied"
    assert b"Not authorized to perform sts:AssumeRoleWithSAML" in answer.body


def test_a88_choice_made_on_another_page_is_refused(site: Installation) -> None:
    form = fields(signed_in(site))[0]
    for origin in ("https://evil.example", "null", "http://daypass.example.com", f"{BASE}.evil.example"):
        refused(site, post(site, "/saml/choose", origin=origin, **form), 403)
    assert post(site, "/saml/choose", origin=BASE, **form).status == 200


@pytest.mark.parametrize("spoil", ["", "x", "a.b", "cut", "flipped", "long"])
def test_ticket_that_was_altered_is_refused(site: Installation, spoil: str) -> None:
    form = fields(signed_in(site))[0]
    ticket = form["ticket"]
    flipped = ticket[:60] + ("A" if ticket[60] != "A" else "B") + ticket[61:]
    bad = {"cut": ticket[:-8], "flipped": flipped, "long": ticket + "A" * 200_000}.get(spoil, spoil)
    refused(site, post(site, "/saml/choose", **{**form, "ticket": bad}))


def test_ticket_that_has_grown_old_is_refused(site: Installation) -> None:
    form = fields(signed_in(site))[0]
    site.wall.time += 301_000
    refused(site, post(site, "/saml/choose", **form))


def test_ticket_does_not_outlive_the_key_that_signed_or_the_provider_itself(site: Installation) -> None:
    arn = f"arn:aws:iam::{ALPHA}:saml-provider/passing"
    kept, compromised = rsa_key("kept"), rsa_key("compromised")
    site.iam("CreateSAMLProvider", Name="passing", SAMLMetadataDocument=metadata([kept, compromised]))
    trusting = document({"Principal": {"Federated": arn}, "Action": "sts:AssumeRoleWithSAML"})
    offered = [f"{site.role('passing', trusting)},{arn}"]

    def login(key: Any) -> dict[str, str]:
        page = post(site, "/saml/acs", SAMLResponse=encode(response(site, roles=offered).signed(key)))
        return fields(page)[0]

    forms = [login(compromised), login(kept), login(kept), login(kept)]
    site.iam("UpdateSAMLProvider", SAMLProviderArn=arn, SAMLMetadataDocument=metadata([kept]))
    assert refused(site, post(site, "/saml/choose", **forms[0]))["account"] == ALPHA
    assert post(site, "/saml/choose", **forms[1]).status == 200
    site.iam("UpdateSAMLProvider", SAMLProviderArn=arn, SAMLMetadataDocument=metadata([kept], "https://other.example"))
    refused(site, post(site, "/saml/choose", **forms[2]))
    site.iam("DeleteSAMLProvider", SAMLProviderArn=arn)
    site.iam("CreateSAMLProvider", Name="passing", SAMLMetadataDocument=metadata([rsa_key("another")]))
    refused(site, post(site, "/saml/choose", **forms[3]))


@pytest.mark.parametrize("body", [b"a=1&a=2", b"SAMLResponse=%FF", b"&".join(b"x%d=1" % n for n in range(50)), b"\xff"])
def test_form_that_is_none_is_refused(site: Installation, body: bytes) -> None:
    refused(site, site.send("POST", (), body, path=b"/saml/acs"))


@pytest.mark.parametrize(
    "path", ["/saml/", "/saml/acs/x", "/saml/acs/111122223333/idp/x", "/saml/metadata/../x", "/saml/STYLE"]
)
def test_path_that_is_none_is_not_found(site: Installation, path: str) -> None:
    refused(site, post(site, path) if "acs" in path else get(site, path), 404)


def test_wrong_method_is_told_the_right_one(site: Installation) -> None:
    answer = get(site, "/saml/acs")
    refused(site, answer, 405)
    assert answer.headers["allow"] == "POST"


# --- Encrypted assertions, and our metadata --------------------------------------------------------------------------


def test_encrypted_assertion_comes_to_the_providers_own_address(site: Installation) -> None:
    own = f"{ACS}/{ALPHA}/idp"
    told = get(site, f"/saml/metadata/{ALPHA}/idp")
    root = ET.fromstring(told.body)
    service = next(root.iter("{urn:oasis:names:tc:SAML:2.0:metadata}AssertionConsumerService"))
    assert service.get("Location") == own
    text = next(root.iter(f"{{{NS['ds']}}}X509Certificate")).text
    from cryptography import x509

    key = x509.load_der_x509_certificate(base64.b64decode(text or "")).public_key()
    made = response(site, recipient=own, destination=own)
    sealed = made.encrypted(None, key)  # type: ignore[arg-type]
    page = post(site, f"/saml/acs/{ALPHA}/idp", SAMLResponse=sealed)
    assert roles(page) == ["reader", "writer"]
    refused(site, post(site, "/saml/acs", SAMLResponse=response(site).encrypted(None, key)))  # type: ignore[arg-type]
    assert get(site, f"/saml/metadata/{ALPHA}/idp").body == told.body


def test_metadata_does_not_tell_which_providers_there_are(site: Installation) -> None:
    plain = get(site, f"/saml/metadata/{ALPHA}/nobody")
    assert plain.status == 200
    assert plain.headers["content-type"] == "application/samlmetadata+xml"
    assert b'entityID="https://daypass.example.com/saml/metadata"' in plain.body


# --- A command line's login ------------------------------------------------------------------------------------------


def begun(site: Installation, **more: str) -> tuple[str, str]:
    """The id of the request that the identity provider gets, and the RelayState."""
    answer = get(site, "/saml/login", **{"provider": PROVIDER, "port": "45678", "challenge": CHALLENGE, **more})
    assert answer.status == 303, answer.body
    where = urlsplit(answer.headers["location"])
    assert f"{where.scheme}://{where.netloc}{where.path}" == "https://idp.example.com/sso"
    query = {name: values[0] for name, values in parse_qs(where.query).items()}
    request = ET.fromstring(decompress(base64.b64decode(query["SAMLRequest"]), -15))
    assert request.findtext(f"{{{NS['saml']}}}Issuer") == ENTITY
    return request.attrib["ID"], query["RelayState"]


def finished(site: Installation, request_id: str, relay_state: str) -> dict[str, str]:
    """Logs in, chooses, and follows to the command line: what its loopback address is given."""
    made = response(site, in_response_to=request_id)
    page = post(site, "/saml/acs", SAMLResponse=made.encoded(), RelayState=relay_state)
    assert page.status == 200, page.body
    assert "form-action 'self' http://127.0.0.1:45678;" in page.headers["content-security-policy"]
    answer = post(site, "/saml/choose", origin=BASE, **fields(page)[0])
    assert answer.status == 303, answer.body
    assert answer.headers["location"].startswith("http://127.0.0.1:45678/?code=")
    assert b"ASIA" not in answer.body
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def test_command_line_gets_the_credentials_for_its_code(site: Installation) -> None:
    given = finished(site, *begun(site))
    assert given["state"] == CHALLENGE
    answer = post(site, "/saml/token", code=given["code"], code_verifier=VERIFIER)
    told = json.loads(answer.body)
    assert (answer.status, told["RoleArn"]) == (200, ROLES[0])
    key = (told["AccessKeyId"], told["SecretAccessKey"], told["SessionToken"])
    assert site.call(key, "GetCallerIdentity").text("Arn").endswith("assumed-role/reader/ann")
    refused(site, post(site, "/saml/token", code=given["code"], code_verifier=VERIFIER))


@pytest.mark.parametrize("verifier", ["", "w" * 43, VERIFIER + "\n", "ü", CHALLENGE])
def test_code_is_worth_nothing_to_another_command_line(site: Installation, verifier: str) -> None:
    given = finished(site, *begun(site))
    refused(site, post(site, "/saml/token", code=given["code"], code_verifier=verifier))
    assert post(site, "/saml/token", code=given["code"], code_verifier=VERIFIER).status == 200


def test_code_and_choice_are_not_each_other(site: Installation) -> None:
    request_id, relay_state = begun(site)
    page = post(
        site, "/saml/acs", SAMLResponse=response(site, in_response_to=request_id).encoded(), RelayState=relay_state
    )
    ticket = fields(page)[0]["ticket"]
    refused(site, post(site, "/saml/token", code=ticket, code_verifier=VERIFIER))
    given = finished(site, *begun(site))
    refused(site, post(site, "/saml/choose", ticket=given["code"], choice="0", csrf=fields(page)[0]["csrf"]))


def test_a33_code_is_for_an_offered_role_alone(site: Installation) -> None:
    request_id, relay_state = begun(site)
    made = response(site, roles=[f"{ROLES[0]},{PROVIDER}"], in_response_to=request_id)
    page = post(site, "/saml/acs", SAMLResponse=made.encoded(), RelayState=relay_state)
    answer = post(site, "/saml/choose", **{**fields(page)[0], "choice": "1"})
    refused(site, answer)
    assert "location" not in answer.headers


def test_a32_response_to_another_login_is_refused(site: Installation) -> None:
    first, second = begun(site), begun(site)
    crossed = response(site, in_response_to=first[0]).encoded()
    refused(site, post(site, "/saml/acs", SAMLResponse=crossed, RelayState=second[1]))
    unasked = response(site).encoded()
    refused(site, post(site, "/saml/acs", SAMLResponse=unasked, RelayState=first[1]))
    without = response(site, in_response_to=first[0]).encoded()
    refused(site, post(site, "/saml/acs", SAMLResponse=without))


def test_a32_response_to_a_login_is_not_taken_by_the_call(site: Installation) -> None:
    request_id, _ = begun(site)
    made = response(site, in_response_to=request_id).encoded()
    params = {"RoleArn": ROLES[0], "PrincipalArn": PROVIDER, "SAMLAssertion": made}
    body = urlencode({"Action": "AssumeRoleWithSAML", "Version": "2011-06-15", **params}).encode()
    answer = site.send("POST", (), body)
    assert (answer.status, answer.code) == (400, "InvalidIdentityToken")


def test_relay_state_of_an_identity_providers_own_is_ignored(site: Installation) -> None:
    for state in ("https://evil.example/", "x" * 5000, "\u202e"):
        answer = post(site, "/saml/acs", SAMLResponse=response(site).encoded(), RelayState=state)
        assert answer.status == 200
        assert b"evil.example/" not in answer.body


@pytest.mark.parametrize(
    "spoilt",
    [
        {"port": "80"},
        {"port": "99999"},
        {"port": "45678@evil.example"},
        {"port": "４５６７８"},
        {"challenge": "short"},
        {"challenge": CHALLENGE + "\n"},
        {"provider": f"{PROVIDER}2"},
        {"provider": "https://evil.example"},
        {"provider": ""},
    ],
)
def test_a88_login_leads_nowhere_else(site: Installation, spoilt: dict[str, str]) -> None:
    asked = {"provider": PROVIDER, "port": "45678", "challenge": CHALLENGE, **spoilt}
    answer = get(site, "/saml/login", **asked)
    refused(site, answer)
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "address", ["https://idp.example.com/&#13;&#10;x-evil: 1", "javascript:alert(1)", "https:// x"]
)
def test_a88_address_in_metadata_forges_no_header(site: Installation, address: str) -> None:
    told = metadata().replace("https://idp.example.com/sso", address)
    name = f"forger-{len(address)}"
    site.iam("CreateSAMLProvider", Name=name, SAMLMetadataDocument=told)
    arn = f"arn:aws:iam::{ALPHA}:saml-provider/{name}"
    answer = get(site, "/saml/login", provider=arn, port="40000", challenge=CHALLENGE)
    refused(site, answer)
    assert "location" not in answer.headers


def test_without_a_public_address_there_are_no_pages(tmp_path: Path) -> None:
    with installed(tmp_path) as other:
        for path in ("/saml/metadata", "/saml/login"):
            assert get(other, path).status == 404
        assert post(other, "/saml/acs", SAMLResponse=encode("<a/>")).status == 404
        assert ROOT
