"""How long pages of the console take with many sessions, beside the management API's answer with the same rows.

One process, SQLite, no sockets: the time is that of the application, from the request to the complete answer. Target:
under 300 ms for each page of the sessions, however many there are; it is printed and gates nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.attack.installation import ALPHA, ROOT, Answer, Installation, document, form
from tests.oauth_client import api
from tests.sign_in import role_for, signed_in, site_with_pages, user

TARGET_MS = 300.0
_AT_ONCE = 256
_ATTEMPTS = 50
_REVOKED = 50
_FAST = {
    "rates": {"principal_per_second": 1e9, "principal_burst": 1e9, "account_per_second": 1e9, "account_burst": 1e9}
}


def fill(site: Installation, role: str, key: tuple[str, ...], count: int) -> None:
    """`count` sessions of a role."""

    async def issue(number: int) -> None:
        body = form("AssumeRole", {"RoleArn": role, "RoleSessionName": f"session-{number}"})
        for _ in range(_ATTEMPTS):
            answer = await site.ask("POST", site.signed(key, body), body)
            if answer.status != 503:
                break
            await asyncio.sleep(0.1)  # a loaded machine sheds requests
        assert answer.status == 200, answer.body

    async def batch(first: int) -> None:
        await asyncio.gather(*(issue(number) for number in range(first, min(first + _AT_ONCE, count))))

    for first in range(0, count, _AT_ONCE):
        site.run(batch(first))
        print(f"\r{min(first + _AT_ONCE, count):,} sessions", end="", file=sys.stderr)
    print(file=sys.stderr)


def measured(serve: Callable[[], Answer], repeats: int) -> Iterator[tuple[float, float]]:
    """Milliseconds of each repetition, and those of CPU time, which hardly depend on others at work on this machine; the first one, which imports and fills caches, is left out."""
    for number in range(repeats + 1):
        began, cpu = time.perf_counter(), time.process_time()
        answer = serve()
        took = (time.perf_counter() - began) * 1000, (time.process_time() - cpu) * 1000
        assert answer.status == 200, answer.body[-2000:]
        if number:
            yield took


def main() -> None:
    """Prints median and maximum of each page, and the ratio to the API. Returns 1 when a median is over the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, site_with_pages(Path(folder), **_FAST) as site:
        name = user(site)
        everything = document({"Action": "*", "Resource": "*"})
        site.iam("PutUserPolicy", ROOT, UserName=name, PolicyName="all", PolicyDocument=everything)
        role = role_for(site, "busy")
        _, key = site.user("worker", ROOT, document({"Action": "sts:AssumeRole", "Resource": role}))
        lost = role_for(site, "lost")
        site.iam("PutUserPolicy", ROOT, UserName="worker", PolicyName="lost", PolicyDocument=everything)
        fill(site, lost, key, _REVOKED)  # the oldest, so that the newest pages have none of them
        fill(site, role, key, given.sessions)
        revoked = api(site, "POST", "/revocations", {"subject": "role", "value": lost, "reason": "lost"})
        assert revoked.status < 300, revoked.body
        browser = signed_in(site, name)
        first = json.loads(api(site, "GET", "/sessions").body)["sessions"][0]
        half = json.loads(api(site, "GET", "/sessions").body)["next"]
        pages = {
            "active sessions": "/console/sessions",
            "the next page": f"/console/sessions?after={half}",
            "all sessions": "/console/sessions?state=all",
            "sessions of one role": f"/console/sessions?state=all&principal={first['principal_id']}",
            "revoked sessions": "/console/sessions?state=revoked",
            "one session": f"/console/session?id={first['session_id']}",
            "the record": "/console/records",
            "Home": "/console/",
        }
        lists = {
            "the API's first page": "/sessions",
            "its next page": f"/sessions?after={half}",
            "its active sessions": "/sessions?active=true",
            "its revoked sessions": "/sessions?revoked=true",
        }
        for title, path in lists.items():
            times = sorted(measured(lambda path=path: api(site, "GET", path), given.repeats))  # type: ignore[misc]
            cpu = statistics.median(each for _, each in times)
            beside = statistics.median(each for each, _ in times)
            print(f"{title:26} median {beside:7.1f} ms, {cpu:6.1f} ms CPU, most {times[-1][0]:7.1f} ms")
        beside = statistics.median(each for each, _ in measured(lambda: api(site, "GET", "/sessions"), given.repeats))
        print(f"{given.sessions:,} sessions in account {ALPHA}; the API's first page: {beside:.1f} ms")
        for title, path in pages.items():
            times = sorted(measured(lambda path=path: browser.get(path), given.repeats))  # type: ignore[misc]
            median, cpu = (statistics.median(each) for each in zip(*times, strict=True))
            missed = "  MISSED" if median > TARGET_MS else ""
            print(
                f"{title:26} median {median:7.1f} ms, {cpu:6.1f} ms CPU, most {times[-1][0]:7.1f} ms, {median / beside:5.2f} × the API{missed}"
            )


if __name__ == "__main__":
    main()
