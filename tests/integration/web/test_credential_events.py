"""Changes of credentials in event streams: passkeys, recovery codes, SCIM, secrets of clients, trust anchors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.attack.installation import ALPHA, ROOT, Installation
from tests.browser import Browser
from tests.directory_service import directory_of
from tests.oauth_client import api, register
from tests.passkeys import DEVICES, registered, sign_in_with
from tests.sign_in import PASSWORD, signed_in, user
from tests.ssf import CREDENTIAL_CHANGE, call, claims, create, members, polled
from tests.x509 import Authority


@pytest.fixture
def stream(site: Installation) -> Iterator[dict[str, Any]]:
    """A stream of this test alone."""
    made = create(site, events_requested=[CREDENTIAL_CHANGE])
    yield made
    assert call(site, "DELETE", "/ssf/streams", query=f"stream_id={made['stream_id']}").status == 204


def changes(site: Installation, stream: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """(type, change, who, name) of every event since the last call, whose subject has the tenant."""
    sets = polled(site, stream)
    found = []
    for text in sets.values():
        got = claims(site, text)
        assert got["sub_id"]["tenant"] == {"format": "opaque", "id": ALPHA}
        event = got["events"][CREDENTIAL_CHANGE]
        name = event.get("friendly_name", "")
        found.append((event["credential_type"], event["change_type"], event["initiating_entity"], name))
    polled(site, stream, ack=list(sets))
    return found


def subjects(site: Installation, stream: dict[str, Any]) -> list[dict[str, Any]]:
    """The subject of every event that waits."""
    return [claims(site, text)["sub_id"] for text in polled(site, stream).values()]


def test_passkeys_and_recovery_codes_are_announced_when_they_change(site: Installation, stream: dict[str, Any]) -> None:
    name = user(site)
    changes(site, stream)
    authenticator = registered(site, signed_in(site, name))
    assert changes(site, stream) == [("fido2-platform", "create", "user", "laptop")]
    browser = Browser(site)
    sign_in_with(browser, authenticator)
    made = browser.submit(browser.get(DEVICES), f"{DEVICES}/recovery-codes")
    user_id = site.iam("GetUser", UserName=name).text("UserId")
    assert [subject["user"]["sub"] for subject in subjects(site, stream)] == [user_id]
    assert changes(site, stream) == [("recovery-code", "create", "user", "")]
    code = re.findall(r"\b[a-z2-7]{4}(?:-[a-z2-7]{4}){3}\b", made.body.decode())[0]
    fresh = Browser(site)
    page = fresh.sign_in(ALPHA, name, PASSWORD)
    assert fresh.submit(page, "/login/recovery", recovery=code).status == 303
    assert changes(site, stream) == [("recovery-code", "revoke", "user", "")]
    browser.submit(browser.get(DEVICES), f"{DEVICES}/recovery-codes")
    assert changes(site, stream) == [("recovery-code", "revoke", "user", ""), ("recovery-code", "create", "user", "")]
    assert browser.submit(browser.get(DEVICES), f"{DEVICES}/remove").status == 303
    assert changes(site, stream) == [
        ("fido2-platform", "delete", "user", "laptop"),
        ("recovery-code", "revoke", "user", ""),
    ]


def test_passkey_that_seems_to_be_copied_is_announced_as_revoked_by_the_service(
    site: Installation, stream: dict[str, Any]
) -> None:
    authenticator = registered(site, signed_in(site, user(site)))
    browser = Browser(site)
    authenticator.count = 9
    assert sign_in_with(browser, authenticator).status == 303
    changes(site, stream)
    authenticator.count = 3
    assert sign_in_with(Browser(site), authenticator).status == 403
    assert changes(site, stream) == [("fido2-platform", "revoke", "system", "laptop")]


def test_passkey_removed_by_iam_is_announced(site: Installation, stream: dict[str, Any]) -> None:
    name = user(site)
    registered(site, signed_in(site, name))
    changes(site, stream)
    serial = site.iam("ListMFADevices", UserName=name).text("SerialNumber")
    site.iam("DeactivateMFADevice", UserName=name, SerialNumber=serial)
    assert changes(site, stream) == [("fido2-platform", "delete", "admin", "laptop")]


def test_offboarding_announces_passkeys(site: Installation, stream: dict[str, Any]) -> None:
    name = user(site)
    registered(site, signed_in(site, name))
    changes(site, stream)
    members(call(site, "POST", "/api/v1/offboardings", {"user": name}, key=ROOT))
    assert changes(site, stream) == [
        ("password", "delete", "admin", ""),
        ("fido2-platform", "delete", "admin", "laptop"),
    ]


def test_scim_tokens_and_users_are_announced(site: Installation, stream: dict[str, Any]) -> None:
    directory = directory_of(site, "announced")
    assert changes(site, stream)[-1] == ("scim-token", "create", "admin", "announced")
    made = directory.user("deb@example.com")
    key = site.iam("CreateAccessKey", UserName="deb@example.com").text("AccessKeyId")
    old = site.iam("CreateAccessKey", UserName="deb@example.com").text("AccessKeyId")
    site.iam("UpdateAccessKey", UserName="deb@example.com", AccessKeyId=old, Status="Inactive")
    changes(site, stream)
    directory.patch(made, {"op": "replace", "path": "active", "value": False})
    assert changes(site, stream) == [("access-key", "revoke", "admin", key)]
    directory.ok("DELETE", f"Users/{made['id']}")
    assert sorted(changes(site, stream)) == sorted(("access-key", "delete", "admin", each) for each in (key, old))
    assert api(site, "DELETE", "/scim-tokens/announced", None, ROOT).status == 204
    assert changes(site, stream) == [("scim-token", "delete", "admin", "announced")]


def test_secrets_and_keys_of_clients_are_announced(site: Installation, stream: dict[str, Any]) -> None:
    exceptions = ["client_secret", "bearer_tokens"]
    client = register(site, token_endpoint_auth_method="client_secret_basic", fapi_exceptions=exceptions)
    changes(site, stream)
    first, second = (json.loads(api(site, "POST", f"{client.path}/secrets").body)["id"] for _ in range(2))
    assert {json.dumps(subject["application"]) for subject in subjects(site, stream)} == {
        json.dumps({"format": "opaque", "id": client.id})
    }
    assert changes(site, stream) == [("client-secret", "create", "admin", each) for each in (first, second)]
    assert api(site, "DELETE", f"{client.path}/secrets/{first}").status == 204
    assert changes(site, stream) == [("client-secret", "delete", "admin", first)]
    assert api(site, "DELETE", client.path).status == 204
    assert changes(site, stream) == [("client-secret", "delete", "admin", second)]


def test_trust_anchors_and_lists_of_revoked_certificates_are_announced(
    site: Installation, stream: dict[str, Any]
) -> None:
    authority = Authority.make("CN=plant root")

    def rest(method: str, path: str, body: Any = None) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        extra = {"content-type": "application/json"}
        signed = site.signed(ROOT, data, "rolesanywhere", method=method, path=path, extra=extra)
        answer = site.send(method, signed, data, path=path.encode())
        assert answer.status in (200, 201), answer.body
        return json.loads(answer.body)

    source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": authority.pem}}
    made = rest("POST", "/trustanchors", {"name": "plant", "source": source, "enabled": True})["trustAnchor"]
    arn, path = made["trustAnchorArn"], f"/trustanchor/{made['trustAnchorId']}"
    assert {tuple(subject) for subject in subjects(site, stream)} == {("format", "tenant")}
    assert changes(site, stream) == [("x509", "create", "admin", arn)]
    rest("POST", f"{path}/disable")
    rest("POST", f"{path}/enable")
    rest("DELETE", path)
    assert [change for _, change, _, _ in changes(site, stream)] == ["revoke", "update", "delete"]
