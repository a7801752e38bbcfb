"""Every path of the management API with the names and ids of another account: nothing is shown, and nothing changes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest
from tests.attack.installation import ALPHA, ROOT, ROOT_OF_BETA, Answer, Installation, Key
from tests.browser import query_of
from tests.console import filled_site, policy
from tests.oauth_client import api
from tests.sign_in import signed_in

from daypass.wire.endpoints.table import OPERATIONS

pytestmark = pytest.mark.slow

CANARY = "seldom-canary"
SERVER = "https://orders.example"
PROVIDER = "token.ci.example"
LISTS = (
    "/access-requests", "/approval-rules", "/clients", "/event-streams", "/grants", "/notification-channels", "/notifications",
    "/providers/oidc", "/resource-servers", "/revocations", "/scim-tokens", "/sessions", "/issuers/allowed",
)  # fmt: skip
"""Parts that are compared before and after."""

BODIES: Mapping[str, Any] = {
    "/access-requests/{request_id}/approve": {"binding": "0" * 64},
    "/access-requests/{request_id}/deny": {"binding": "0" * 64, "reason": "not a good reason"},
    "/access-requests/{request_id}/extend": {"seconds": 600, "reason": "more time is needed"},
    "/access-reviews/{review_id}/close": {"finding": "nothing was found"},
    "/approval-rules/{name}": {"document": json.dumps({"roles": ["role/x"], "requesters": {"principals": ["user/x"]}})},
    "/clients/{client_id}": {"name": "mine", "settings": {}},
    "/notification-channels/{name}": {
        "kind": "webhook",
        "target": "https://evil.example",
        "events": ["access.requested"],
    },
    "/passkeys/{passkey_id}": {"name": "mine"},
    "/providers/oidc/{provider}/settings": {"settings": {}},
    "/resource-servers/{identifier}": {"name": "mine", "settings": {}},
    "/accounts/{account_id}/guardrails/{name}": {"document": "{}"},
    "/roles/{name}/settings": {"chained_max_seconds": 3600},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with filled_site(tmp_path_factory.mktemp("accounts")) as made:
        yield made


def served(answer: Answer) -> Any:
    assert answer.status < 300, answer.body
    return json.loads(answer.body) if answer.body else {}


@pytest.fixture(scope="module")
def known(site: Installation) -> dict[str, str]:
    """The values of the parameters of paths, as they are in the account that is attacked."""

    def make(method: str, path: str, body: Any = None) -> Any:
        return served(api(site, method, path, body))

    ann = signed_in(site, "ann")
    sent = {"role": f"arn:aws:iam::{ALPHA}:role/prod-orders", "reason": f"A good reason, {CANARY}"}
    request = query_of(ann.submit(ann.get("/console/request"), "/console/request/send", **sent))["id"]
    site.iam("CreateOpenIDConnectProvider", Url=f"https://{PROVIDER}", **{"ClientIDList.member.1": CANARY})
    channel = {"kind": "webhook", "target": f"https://{CANARY}.example", "events": ["access.requested"]}
    make("PUT", "/notification-channels/ops", channel)
    settings = {
        "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "client_secret_basic",
        "roles": ["*"],
        "fapi_exceptions": ["client_secret"],
    }
    client = make("POST", "/clients", {"name": CANARY, "settings": settings})["client_id"]
    make("POST", f"/clients/{client}/secrets")
    make("PUT", f"/resource-servers/{quote(SERVER, safe='')}", {"name": CANARY, "settings": {}})
    revoked = {"subject": "source_identity", "value": CANARY, "reason": CANARY, "block": True, "force": True}
    session = make("GET", "/sessions")["sessions"][0]
    return {
        "request_id": request,
        "review_id": request,
        "notification_id": make("POST", "/notification-channels/ops/test")["id"],
        "client_id": client,
        "secret_id": make("GET", f"/clients/{client}")["secrets"][0]["id"],
        "identifier": SERVER,
        "provider": f"arn:aws:iam::{ALPHA}:oidc-provider/{PROVIDER}",
        "revocation_id": make("POST", "/revocations", revoked)["id"],
        "session_id": session["session_id"],
        "log": session["log"],
        "seq": str(session["seq"]),
        "account_id": ALPHA,
    }


def name_in(path: str) -> str:
    """The value of {name}, by the collection."""
    names = {"notification-channels": "ops", "approval-rules": "prod", "roles": "prod-orders"}
    return names.get(path.split("/")[1], "none")


def calls() -> list[tuple[str, str]]:
    """Every method and path that names something."""
    return sorted((each.method, each.path) for each in OPERATIONS if "{" in each.path)


def state(site: Installation) -> dict[str, Any]:
    found = {path: served(api(site, "GET", path)) for path in LISTS}
    for notification in found["/notifications"]["notifications"]:  # it is delivered meanwhile, which changes these
        for name in ("attempts", "next_at", "outcome", "error"):
            notification.pop(name, None)
    return found


@pytest.fixture(scope="module")
def eve(site: Installation) -> Key:
    """Somebody of the other account who may do anything there."""
    return site.user("eve", ROOT_OF_BETA, policy("*"))[1]


@pytest.mark.parametrize("account", ["", ALPHA], ids=["own account", "the other account"])
def test_a89_every_path_with_what_another_account_has_shows_and_changes_nothing(
    site: Installation, known: dict[str, str], eve: Key, account: str
) -> None:
    before = state(site)
    assert len(calls()) > 40
    for method, path in calls():
        values = {**known, "name": name_in(path)}
        filled = re.sub(r"\{([^}]*)\}", lambda found: quote(values.get(found[1], "0" * 32), safe=""), path)  # noqa: B023
        body = BODIES.get(path, {}) if method in ("POST", "PUT") else None
        answer = api(site, method, f"{filled}?account={account}" if account else filled, body, key=eve)
        told = answer.body.decode()
        assert CANARY not in told, (method, path, told)
        if (
            answer.status < 300 and path != "/audit/logs/{log}/records"
        ):  # everyone may verify: others' records are hashes
            assert method in ("PUT", "DELETE"), (method, path, told)
            assert not account, (method, path, told)
            assert f'"account":"{ALPHA}"' not in told, (method, path, told)
        else:
            taken = (409,) if path.startswith("/resource-servers/") else ()  # audiences are unique in an installation
            assert answer.status in (200, 400, 403, 404, *taken), (method, path, told)
    assert state(site) == before
    assert json.loads(api(site, "GET", f"/access-requests/{known['request_id']}", key=ROOT).body)["state"] == "pending"
