"""How long the server takes for each page of the console, beside a page that reads nothing, in the same run. Target: 20 ms at p95.

The pages are those of the routes table, with the parts that a page loads afterwards as separate rows. One process, SQLite, no
sockets: CPU time of all threads from the request to the complete answer, because another process at work on this machine
hardly changes it; the elapsed time is printed beside it. Figures of dashboards are shared for some seconds: a row shows
what they cost when they are made anew.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from tests.attack.installation import ADMIN, ALPHA, ROOT, Answer, Installation, document
from tests.browser import Browser
from tests.console import REASON, filled_site, served
from tests.oauth_client import api, register
from tests.sign_in import signed_in
from tests.x509 import Authority

from daypass.operations.record.summarize import FRESH_MS
from daypass.wire.front import Front
from daypass.wire.routes import RouteSettings, routes
from daypass.wire.routing import Route

if TYPE_CHECKING:
    from daypass.ports import Env
    from daypass.wire.health import Health

TARGET_MS = 20.0
Row: TypeAlias = tuple[str, int, list[float], list[float]]
_PROVIDER = "token.example.com"
_STREAMS = ("/events", "/export")
_STATIC = "/help/errors/AccessDenied"
_PART = re.compile(r'hx-get="([^"]+)" hx-trigger="load"')
_ROLE = f"arn:aws:iam::{ALPHA}:role/prod-orders"


def fill(site: Installation, many: int, records: int) -> dict[str, str]:
    """Users, groups, roles, sessions and records beside those of the tests. Returns a query for each page that shows one
    object.
    """
    for number in range(records):
        site.assume(ADMIN, f"arn:aws:iam::{ALPHA}:role/{'reader' if number % 3 else 'nobody'}", f"job-{number % 50}")
    everything = document({"Action": "*", "Resource": "*"})
    audience = {"ClientIDList.member.1": "sts.example"}
    site.iam("CreateOpenIDConnectProvider", ROOT, Url=f"https://{_PROVIDER}", **audience)
    site.iam("PutUserPolicy", ROOT, UserName="ada", PolicyName="all", PolicyDocument=everything)
    for number in range(many):
        for kind in ("User", "Group"):
            named = {f"{kind}Name": f"{kind.lower()}-{number}"}
            site.iam(f"Create{kind}", ROOT, **named)
        site.iam("AddUserToGroup", ROOT, GroupName="leads", UserName=f"user-{number}")
        site.iam("AddUserToGroup", ROOT, GroupName=f"group-{number}", UserName=f"user-{number}")
        trusted = document(
            {"Principal": {"AWS": f"arn:aws:iam::{ALPHA}:user/user-{number}"}, "Action": "sts:AssumeRole"}
        )
        site.iam("CreateRole", ROOT, RoleName=f"role-{number}", AssumeRolePolicyDocument=trusted)
    served(api(site, "PUT", "/resource-servers/api", {"name": "api", "settings": {"scopes": {"read": {}}}}))
    ann, ada = signed_in(site, "ann"), signed_in(site, "ada")
    sent = ann.submit(ann.get("/console/request"), "/console/request/send", reason=REASON, role=_ROLE)
    pem = Authority.make("CN=plant root").pem
    made = ada.submit(
        ada.get("/console/trust-anchors?new=1"), "/console/trust-anchors/create", anchor_name="acme", pem=pem
    )
    request, anchor = (each.headers["location"].partition("?")[2].partition("&")[0] for each in (sent, made))
    session = json.loads(api(site, "GET", "/sessions").body)["sessions"][0]["session_id"]
    record = json.loads(api(site, "GET", "/audit/records").body)["records"][0]
    return {
        "user": "name=ann",
        "group": "name=leads",
        "role": "name=prod-orders",
        "role/edit": "name=prod-orders",
        "policy": "holder=User&name=ada&policy=all",
        "provider": f"arn=arn:aws:iam::{ALPHA}:oidc-provider/{_PROVIDER}",
        "session": f"id={session}",
        "rule": "name=prod",
        "record": f"log={record['log']}&seq={record['seq']}",
        "find": "text=ann",
        "client": f"client_id={register(site).id}",
        "resource-server": "identifier=api",
        "trust-anchor": anchor,
        "access-request": request,
        "extend": request.replace("id=", "request="),
        "timeline": "role=reader",
        "pick": "kind=action&text=s3:get",
    }


def measured(
    serve: Callable[[], Answer], repeats: int, before: Callable[[], None]
) -> tuple[int, list[float], list[float]]:
    """Status, sorted milliseconds of CPU time, and of elapsed time. Three first answers fill caches and are left out."""
    cpu, elapsed, status = list[float](), list[float](), 0
    for number in range(repeats + 3):
        before()
        began, used = time.perf_counter(), time.process_time()
        status = serve().status
        if number >= 3:
            cpu.append((time.process_time() - used) * 1000)
            elapsed.append((time.perf_counter() - began) * 1000)
    return status, sorted(cpu), sorted(elapsed)


def pages(queries: dict[str, str]) -> Iterator[str]:
    """Every page that is read, with a query where it shows one object."""
    for route in routes(Front(cast("Env", None)), cast("Health", None), RouteSettings()).rows:
        if (
            isinstance(route, Route)
            and route.path.startswith("/console")
            and "GET" in route.methods
            and not route.path.endswith(_STREAMS)
        ):
            query = queries.get(route.path.removeprefix("/console/"), "")
            yield f"{route.path}?{query}" if query else route.path


def row(site: Installation, browser: Browser, path: str, repeats: int, later: int = 0) -> Row:
    """The figures of one page. `later`: ms between two requests."""

    def wait() -> None:
        site.wall.time += later

    return f"{path} (new)" if later else path, *measured(lambda: browser.get(path), repeats, wait)


def main() -> None:
    """Prints p50 and p95 of each page, the slowest first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--many", type=int, default=60, help="users, groups and roles")
    parser.add_argument("--records", type=int, default=2000, help="attempts to assume a role")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, filled_site(Path(folder)) as site:
        browser = signed_in(site, "ada")
        paths = [_STATIC, *pages(fill(site, given.many, given.records))]
        parts = [unescape(part) for path in paths for part in _PART.findall(browser.get(path).body.decode())]
        rows = [row(site, browser, path, given.repeats) for path in (*paths, *parts)]
        new = [
            row(site, browser, path, given.repeats, FRESH_MS) for path in parts if path.startswith("/console/dashboard")
        ]
    at = int(given.repeats * 0.95) - 1
    for path, status, cpu, elapsed in sorted((*rows, *new), key=lambda row: -row[2][at]):
        missed = "  MISSED" if cpu[at] > TARGET_MS else ""
        print(
            f"{status} {path[:60]:60} CPU p50 {cpu[len(cpu) // 2]:6.1f} p95 {cpu[at]:6.1f}, elapsed p95 {elapsed[at]:6.1f}{missed}"
        )


if __name__ == "__main__":
    main()
