"""The console in a real browser: each page and flow, in light and dark, at 1280 and 360 px, judged by axe-core."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route
from tests.chromium import chromium, judged, needs_chromium, page_of, virtual_authenticator
from tests.console import REASON, fill, policy, trust
from tests.e2e.conftest import OPERATOR, Server, running
from tests.sign_in import PASSWORD
from tests.x509 import Authority

from daypass.client.errors import ClientError

pytestmark = [pytest.mark.slow, needs_chromium]
__all__ = ["chromium"]
PROVIDER = "ci.example.com"
API = "orders-api"
LOOKS = [("light", 1280), ("dark", 360), ("dark", 1280)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {"DAYPASS_SERVER__PUBLIC_URL": "http://localhost:{port}", "DAYPASS_CHECKS__SECONDS": "2"}
    with running(tmp_path_factory.mktemp("console"), environment=environment) as started:
        client = started.client("iam")

        def iam(operation: str, **parameters: Any) -> Any:
            return getattr(client, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower())(**parameters)

        fill(OPERATOR, iam, lambda method, path, body: started.api(method, path, body=body))
        federate(started)
        yield started


def federate(server: Server) -> None:
    """One of each: provider, client, resource server, trust anchor."""
    server.client("iam").create_open_id_connect_provider(Url=f"https://{PROVIDER}", ClientIDList=["sts.example"])
    settings = {"token_endpoint_auth_method": "none", "grant_types": ["authorization_code"]}
    settings["redirect_uris"] = ["https://app.example.com/callback"]
    server.api("POST", "/clients", body={"name": "app", "settings": settings})
    server.api("PUT", f"/resource-servers/{API}", body={"name": "orders", "settings": {"scopes": {"read": {}}}})
    server.client("rolesanywhere").create_trust_anchor(
        name="plant",
        source={"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": Authority.make().pem}},
        enabled=True,
    )


class Person:
    """A person with a browser of their own."""

    def __init__(self, server: Server, chromium: Browser, name: str, look: tuple[str, int]) -> None:
        self.base = server.url.replace("127.0.0.1", "localhost")  # passkeys are for names
        self.page, self.said = page_of(chromium, *look)
        self.suffix = "" if look[1] > 400 else "-narrow"
        self.page.goto(f"{self.base}/login?next=/console/")
        for field, value in (("account", OPERATOR), ("user", name), ("password", PASSWORD)):
            self.page.locator(f"form[action='/login/password'] [name={field}]").fill(value)
        self.page.locator("form[action='/login/password'] button[type=submit]").click()
        self.page.wait_for_url("**/console/")

    def open(self, path: str, name: str = "") -> Page:
        """Opens a page of the console; judges it when it has a name."""
        self.page.goto(f"{self.base}{path}")
        if name:
            self.judge(name)
        return self.page

    def judge(self, name: str) -> None:
        judged(self.page, f"console-{name}{self.suffix}")

    def close(self) -> None:
        """No page has broken its own security policy, or had another fault that the browser reports."""
        self.page.context.close()
        # A test that types before the page is drawn takes the focus first.
        assert [text for text in self.said if "favicon" not in text and "Autofocus" not in text] == []


@pytest.mark.parametrize("look", LOOKS)
def test_request_is_sent_narrowed_approved_and_ended(server: Server, chromium: Browser, look: tuple[str, int]) -> None:
    ann, lee = Person(server, chromium, "ann", look), Person(server, chromium, "lee", look)
    ann.judge("home-empty")
    page = ann.open("/console/request")
    page.get_by_label("Action").fill("orders:PutItem")
    page.get_by_role("button", name="Find roles").click()
    page.get_by_role("link", name="Choose prod-orders").click()
    page.get_by_label("Reason").fill(REASON)
    page.get_by_label("Ticket").fill("OPS-1")
    ann.judge("request")
    page.get_by_role("button", name="Send the request").click()
    page.get_by_role("status").wait_for()
    ann.judge("own-request")
    inbox = lee.open("/console/approvals", "approvals")
    box = inbox.locator(".risk").first.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= look[1]  # seen without scrolling sideways
    inbox.get_by_role("link", name="prod-orders").first.click()
    lee.judge("access-request")
    inbox.get_by_text("Narrow it").click()
    inbox.get_by_label("Minutes at most").fill("20")
    inbox.get_by_role("button", name="Approve", exact=True).click()
    inbox.get_by_role("status").wait_for()
    page = ann.open("/console/", "home")
    assert "Ready for 20 min" in page.inner_text("main")
    page.get_by_role("button", name=re.compile("Done with")).click()
    page.get_by_role("status").wait_for()
    for person in (ann, lee):
        person.close()


@pytest.mark.parametrize("look", LOOKS)
def test_role_with_thousands_of_permissions_has_short_pages(
    server: Server, chromium: Browser, look: tuple[str, int]
) -> None:
    iam, name = server.client("iam"), f"prod-reads-{look[0]}-{look[1]}"
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(OPERATOR, approved=True))
    iam.attach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    ann, lee = Person(server, chromium, "ann", look), Person(server, chromium, "lee", look)
    page = ann.open(f"/console/request?role=arn:aws:iam::{OPERATOR}:role/{name}")
    page.get_by_label("Reason").fill(REASON)
    page.get_by_role("button", name="Send the request").click()
    page.get_by_role("status").wait_for()
    page = lee.open(f"/console/access-request?{page.url.partition('?')[2].partition('&')[0]}", "request-of-many")
    box = page.get_by_role("button", name="Approve", exact=True).bounding_box()
    assert box is not None
    assert box["y"] < 2_000
    page.get_by_text("Show the services").click()
    page.locator(".services summary").filter(has_text="ec2").first.click()
    lee.judge("request-of-many-open")
    ada = Person(server, chromium, "ada", look)
    page = ada.open(f"/console/role?name={name}", "role-of-many")
    page.locator("#who-list:not(.skeleton)").wait_for()
    page.locator("#can-list:not(.skeleton)").wait_for()
    assert page.evaluate("document.documentElement.scrollHeight") < 3_500
    for person in (ann, lee, ada):
        person.close()


@pytest.mark.parametrize("look", LOOKS)
def test_vote_and_change_are_confirmed_by_a_passkey(server: Server, chromium: Browser, look: tuple[str, int]) -> None:
    name = f"kim-{look[0]}-{look[1]}"
    iam = server.client("iam")
    iam.create_user(UserName=name)
    iam.create_login_profile(UserName=name, Password=PASSWORD)
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=policy("*", "daypass:*"))
    iam.add_user_to_group(GroupName="leads", UserName=name)
    ann = Person(server, chromium, "ann", look)
    page = ann.open(f"/console/request?role=arn:aws:iam::{OPERATOR}:role/prod-admin")
    page.get_by_label("Reason").fill(f"{REASON} for {name}")
    page.get_by_role("button", name="Send the request").click()
    page.get_by_role("status").wait_for()
    request = page.url.partition("?")[2]
    kim = Person(server, chromium, name, look)
    page = kim.page
    virtual_authenticator(page)
    kim.open("/account/devices")
    page.fill("#name", "laptop")
    page.click("#passkey button")
    page.get_by_text(re.compile("^Registered ")).wait_for()  # the hint names a laptop, too
    kim.open(f"/console/access-request?{request}")
    page.get_by_role("button", name="Approve", exact=True).click()
    page.get_by_role("button", name="Confirm with a passkey").wait_for()
    assert f"{REASON} for {name}" in page.inner_text("main")
    kim.judge("confirm-vote")
    page.get_by_role("button", name="Confirm with a passkey").click()
    page.get_by_role("status").wait_for()
    assert "with MFA" in page.inner_text("#votes ~ ul")
    kim.open("/console/user?name=lee")
    page.get_by_role("button", name="Create an access key").click()
    page.get_by_role("button", name="Confirm with a passkey").wait_for()
    kim.judge("confirm-change")
    page.get_by_role("button", name="Confirm with a passkey").click()
    secret = page.locator("#once-2").inner_text()
    kim.judge("shown-once")
    page.locator("#once-2.masked").wait_for()
    page.get_by_role("button", name="Show Secret access key").click()
    page.locator("#once-2:not(.masked)").wait_for()
    assert page.get_by_role("button", name="Copy Secret access key").is_visible()
    kim.open("/console/user?name=lee")
    assert secret not in page.content()
    page.get_by_role("button", name=re.compile("Delete AKIA")).first.click()
    page.get_by_role("button", name="Confirm with a passkey").click()
    page.get_by_role("status").wait_for()
    kim.open(f"/console/user?name={name}", "own-page")
    assert "laptop" in page.inner_text("main")
    for person in (ann, kim):
        person.close()


@pytest.mark.parametrize("look", LOOKS)
def test_credentials_are_shown_once_and_their_session_is_revoked(
    server: Server, chromium: Browser, look: tuple[str, int]
) -> None:
    ada = Person(server, chromium, "ada", look)
    page = ada.open("/console/roles", "roles")
    page.get_by_role("link", name="reader").click()
    page.get_by_role("button", name="Create a report").click()
    page.wait_for_url("**job=*")
    ada.judge("role")
    page.get_by_role("link", name="Get credentials").click()
    name = f"shift-{look[0]}-{look[1]}"
    page.get_by_label("Session name").fill(name)
    ada.judge("credentials-form")
    page.get_by_role("button", name="Get credentials").click()
    key = re.search(r"AWS_ACCESS_KEY_ID=(ASIA\w+)", page.inner_text("#text-shell"))
    assert key is not None
    ada.judge("credentials")
    ada.open("/console/sessions", "sessions")
    page.get_by_role("link", name=name).click()
    ada.judge("session")
    page.get_by_role("link", name="Revoke", exact=True).click()
    ada.judge("revoke")
    page.get_by_role("button", name="Revoke 1 session").click()
    page.get_by_role("status").wait_for()
    assert name in page.inner_text("main")
    ada.close()


def test_theme_is_chosen_and_stays(server: Server, chromium: Browser) -> None:
    ann = Person(server, chromium, "ann", ("light", 1280))
    page = ann.page
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "light"
    page.locator("details.user summary").click()
    page.get_by_label("Theme").select_option("dark")
    ann.open("/console/request")
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "dark"
    for path in ("/account", "/console/nothing", "/login"):
        ann.page.goto(f"{ann.base}{path}")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert sum(map(int, re.findall(r"\d+", ground))) < 200, path
    ann.said.clear()  # the browser reports the status 404
    ann.close()


def test_countdown_that_arrives_later_counts_from_its_arrival(server: Server, chromium: Browser) -> None:
    """As in a part of a page that htmx has replaced, five minutes after the page was opened."""
    ada = Person(server, chromium, "ada", ("light", 1280))
    page = ada.open("/console/")
    page.evaluate(
        """() => {
            const now = Date.now.bind(Date);
            Date.now = () => now() + 300000;
            document.querySelector("main").insertAdjacentHTML(
                "beforeend", '<time class="countdown" id="late" data-now="0" data-until="1000000">new</time>');
        }"""
    )
    page.locator("#late", has_text="16 min").wait_for()
    ada.close()


def test_filter_that_is_refused_or_answered_by_the_sign_in_shows_that_page(server: Server, chromium: Browser) -> None:
    ada = Person(server, chromium, "ada", ("light", 1280))
    page = ada.open("/console/roles")
    page.get_by_label("Start at the name").fill("rea")
    page.keyboard.press("Enter")
    page.wait_for_url("**start=rea*")
    assert "prod-orders" not in page.inner_text("#list")
    page.get_by_label("Start at the name").fill("<not a name>")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="This did not work").wait_for()
    page = ada.open("/console/roles")
    page.context.clear_cookies()
    page.get_by_label("Start at the name").fill("rea")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Sign in", exact=True).wait_for()
    ada.said.clear()  # the browser reports the status 400
    ada.close()


def test_menu_at_360_px_opens_and_leads_on_by_keyboard(server: Server, chromium: Browser) -> None:
    ann = Person(server, chromium, "ann", ("light", 360))
    page = ann.page
    assert not page.get_by_role("link", name="Approvals").is_visible()
    page.get_by_role("button", name="Menu").focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Approvals").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/approvals")
    ann.close()


@pytest.mark.parametrize("look", LOOKS)
def test_record_is_searched_and_a_denial_explained(server: Server, chromium: Browser, look: tuple[str, int]) -> None:
    ada = Person(server, chromium, "ada", look)
    page = ada.open("/console/credentials?role=arn:aws:iam::111122223333:role/prod-orders")
    page.get_by_role("button", name="Get credentials").click()
    page.get_by_role("alert").wait_for()
    ada.said.clear()  # the browser reports the status 403 of the form
    page = ada.open("/console/records")
    page.get_by_label("Person").fill("ada")
    page.get_by_label("Decision", exact=True).select_option("refused")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**decision=refused*")
    ada.judge("records")
    page.locator("#list td a").first.click()
    verdict = page.locator("[data-verdict]")
    verdict.wait_for()
    assert "from the bytes of the event" in verdict.inner_text()
    ada.judge("record")
    page.route("**/console/record?*", altered)
    page.reload()
    page.locator("[data-verdict='bad']").wait_for()
    page.unroute("**/console/record?*")
    page.reload()
    page.get_by_role("link", name="Why?").click()
    ada.judge("explain")
    page = ada.open(f"/console/simulator?principal=arn:aws:iam::{OPERATOR}:user/ann&action=orders:GetItem")
    assert "This statement allows it." in page.inner_text("main")
    ada.judge("simulator")
    ada.close()


def altered(route: Route) -> None:
    """The page of a record, with another chain hash of the last record."""
    answer = route.fetch()
    digits = re.findall(r"chain&#34;: &#34;([0-9a-f]{64})", answer.text())[-1]
    route.fulfill(response=answer, body=answer.text().replace(digits, digits[::-1]))


TOUR = {
    "users": "/console/users",
    "user": "/console/user?name=ann",
    "find": "/console/find?text=prod",
    "graph": "/console/graph",
    "graph-of-role": "/console/graph?role=prod-orders",
    "graph-of-person": f"/console/graph?principal=arn:aws:iam::{OPERATOR}:user/ann",
    "timeline": "/console/timeline?person=ada",
    "groups": "/console/groups",
    "group": "/console/group?name=leads",
    "devices": "/console/devices",
    "providers": "/console/providers",
    "provider": f"/console/provider?arn=arn:aws:iam::{OPERATOR}:oidc-provider/{PROVIDER}",
    "trust-anchors": "/console/trust-anchors",
    "policy": "/console/policy?holder=User&name=ann&policy=work",
    "clients": "/console/clients",
    "new-client": "/console/clients?new=1",
    "new-provider": "/console/providers?new=2",
    "resource-servers": "/console/resource-servers",
    "resource-server": f"/console/resource-server?identifier={API}",
    "keys": "/console/keys",
    "rules": "/console/rules",
    "rule": "/console/rule?name=prod",
    "reviews": "/console/reviews",
    "notifications": "/console/notifications",
    "new-channel": "/console/notifications?new=1",
    "sent-notifications": "/console/sent-notifications",
    "scim-tokens": "/console/scim-tokens",
    "event-streams": "/console/event-streams",
    "anomalies": "/console/anomalies",
    "settings": "/console/settings",
    "start": "/console/start",
}


@pytest.mark.parametrize("look", LOOKS)
def test_every_list_and_form_of_the_directory_opens(server: Server, chromium: Browser, look: tuple[str, int]) -> None:
    ada = Person(server, chromium, "ada", look)
    for name, path in TOUR.items():
        ada.open(path, name)
    for name, path, row in (("client", "/console/clients", "app"), ("trust-anchor", "/console/trust-anchors", "plant")):
        ada.open(path).get_by_role("link", name=row, exact=True).click()
        ada.page.wait_for_url("**?*id=*")
        ada.judge(name)
    ada.open("/console/nothing")
    ada.judge("error")
    ada.said.clear()
    ada.close()


def test_rows_are_chosen_and_columns_hidden_which_the_browser_remembers(server: Server, chromium: Browser) -> None:
    ada = Person(server, chromium, "ada", ("light", 1280))
    users = ada.open("/console/users")
    users.get_by_label("Choose ann", exact=True).check()
    assert users.get_by_text("1 chosen").is_visible()
    users.get_by_label("Choose all rows").check()
    button = users.get_by_role("button", name="Disable the chosen users")
    users.get_by_text("Columns", exact=True).click()
    users.get_by_label("Show the column Path").uncheck()
    ada.judge("users-chosen")
    button.click()
    assert "ann" in users.locator("main").inner_text()
    users = ada.open("/console/users")
    assert not users.get_by_role("columnheader", name="Path").is_visible()
    assert users.get_by_role("columnheader", name="MFA").is_visible()
    one = ada.open("/console/users?start=lee")
    assert one.locator("#list tbody tr").count() == 1
    assert one.get_by_role("button", name="Save as CSV").is_visible()
    users.keyboard.press("c")
    users.get_by_role("heading", name="New user").wait_for()
    users.keyboard.type("not a name")
    users.keyboard.press("Enter")
    users.get_by_role("alert").wait_for()
    assert "not a name" in users.get_by_label("Name").input_value()
    ada.said.clear()
    users.get_by_role("link", name="Cancel").click()
    users.get_by_role("heading", name="Users", exact=True).wait_for()
    ada.close()


def use(server: Server, seconds: float) -> None:
    """People and workloads assume roles, some of which are refused: one round, or more for so long."""
    iam, keys = server.client("iam"), []
    for name in ("ann", "lee", "deploy", "backup"):
        if name in ("deploy", "backup"):
            iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="assume", PolicyDocument=policy("sts:AssumeRole"))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        keys.append((key["AccessKeyId"], key["SecretAccessKey"]))
    ann, lee, *_ = keys
    sts = [server.client("sts", key) for key in keys]
    for name in ("reports", "orders-read", "on-call"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(OPERATOR, approved=False))
    roles = [
        f"arn:aws:iam::{OPERATOR}:role/{name}"
        for name in ("reader", "reports", "orders-read", "on-call", "prod-orders")
    ]
    asked = {"roles": roles[-1:], "reason": REASON}
    ends = time.monotonic() + seconds
    for number in itertools.count():
        if number % 80 == 0:
            with contextlib.suppress(ClientError):  # the one before may still be open
                request = server.api("POST", "/access-requests", key=ann, body=asked)
                body = {"binding": request["binding"]}
                server.api("POST", f"/access-requests/{request['id']}/approve", key=lee, body=body)
        for place, client in enumerate(sts):
            for role in [role for rank, role in enumerate(roles) if number % (1 + rank * (place + 1)) == 0]:
                with contextlib.suppress(client.exceptions.ClientError):
                    client.assume_role(RoleArn=role, RoleSessionName="work")
        if number % 5 == 0:
            server.client("iam").simulate_custom_policy(
                PolicyInputList=[policy("*")], ActionNames=["s3:GetObject"] * 50
            )
        if time.monotonic() >= ends:
            return
        time.sleep(0.5 + number % 7 / 3)


@pytest.fixture(scope="module")
def used(server: Server) -> Server:
    use(server, 500.0 if os.environ.get("DAYPASS_SCREENSHOTS") else 0.0)  # a picture shows eight minutes
    return server


BLACK_PIXELS = """Array.from(document.querySelectorAll("canvas"), (canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let black = 0;
  for (let at = 0; at < data.length; at += 4) black += data[at + 3] === 255 && data[at] + data[at + 1] + data[at + 2] === 0;
  return black;
})"""


@pytest.mark.parametrize("look", LOOKS)
def test_dashboards_are_live_and_exported(used: Server, chromium: Browser, look: tuple[str, int]) -> None:
    ada = Person(used, chromium, "ada", look)
    for view in ("executive", "on-call", "debug"):
        page = ada.open(f"/console/dashboard?view={view}&hours=1")
        page.locator("#live", has_text="Live.").wait_for()
        if view == "on-call":
            page.locator("#panel-checks", has_text="unknown key is refused").wait_for()
        ada.judge(f"dashboard-{view}")
        assert not any(page.evaluate(BLACK_PIXELS)), "axes have the colours of the theme"
        found = {"executive": "table.people a", "on-call": "#panel-causes li a", "debug": "#panel-operations li a"}
        address = page.locator(found[view]).first.get_attribute("href")
        assert ada.open(address or "").locator("#list tbody tr").count(), address
    page = ada.open("/console/dashboard?view=executive&hours=1")
    with page.expect_download() as png:
        page.get_by_role("button", name="PNG of Sessions").click()
    head = png.value.path().read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    pixels = page.evaluate("Array.from(document.querySelectorAll('canvas'), (each) => [each.width, each.height])")
    width, height = struct.unpack(">II", head[16:24])
    assert (width, height > pixels[0][1]) == (pixels[0][0], True)  # the title and the legend are above the chart
    ada.close()


def test_map_of_who_assumed_what_is_live(used: Server, chromium: Browser) -> None:
    ada = Person(used, chromium, "ada", ("light", 1280))
    page = ada.open("/console/dashboard?view=executive&hours=1")
    page.locator("#live", has_text="Live.").wait_for()
    total = "Array.from(document.querySelectorAll('table.people td'), (each) => Number(each.innerText)).reduce((a, b) => a + b, 0)"
    before = page.evaluate(total)
    used.client("sts").assume_role(RoleArn=f"arn:aws:iam::{OPERATOR}:role/reports", RoleSessionName="live")
    for _ in range(300):  # only a failure waits so long
        if page.evaluate(total) > before:
            break
        page.wait_for_timeout(100)
    assert page.evaluate(total) > before, "without a reload"
    ada.close()


def test_dashboard_without_an_answer_says_that_it_is_not_live(server: Server, chromium: Browser) -> None:
    ada = Person(server, chromium, "ada", ("light", 1280))
    ada.page.clock.install()
    page = ada.open("/console/dashboard?view=executive&hours=1")
    page.locator("#live", has_text="Live.").wait_for()
    page.route("**/console/dashboard/events?*", lambda route: route.abort())
    page.clock.fast_forward(40_000)
    page.locator("#live", has_text="Not live: the server does not answer.").wait_for()
    ada.said.clear()  # the browser reports the requests that were cut off
    ada.close()
