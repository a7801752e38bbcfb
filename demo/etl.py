"""A job that is longer than one token, for real: it reads orders in one account and writes them in another for 70 seconds.

Access tokens for both APIs end after a minute. The job holds one session in each account, with a ceiling; tokens are renewed ahead of
their end, and no call is refused because one has expired.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from stage import cli, client, document, new_key, note, say, server

from daypass.client.auth import BearerAuth, TokenSource
from daypass.client.boto import CeilingReached, HeldSession, held_session
from daypass.client.profiles import Profile, save
from daypass.client.verifier import InvalidToken, Verifier, VerifierSettings

SHOP, WAREHOUSE = "111122223333", "444455556666"
APIS = {SHOP: "https://orders.example", WAREHOUSE: "https://stock.example"}
TOKEN_SECONDS = 60


class Api:
    """A service that verifies tokens by itself. `tokens`: those that it has accepted; `refused`: how many calls it refused."""

    def __init__(self, verifier: Verifier) -> None:
        self.verifier, self.refused, self.calls = verifier, 0, 0
        self.tokens: set[str] = set()

    def status(self, authorization: str) -> int:
        token = authorization.removeprefix("Bearer ")
        self.calls += 1
        try:
            self.verifier.verify(token)
        except InvalidToken as error:
            note(f"refused: {error}")
            self.refused += 1
            return 401
        self.tokens.add(token)
        return 200


@contextmanager
def served(api: Api) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(api.status(self.headers.get("authorization", "")))
            self.send_header("content-length", "0")
            self.end_headers()

        do_PUT = do_GET  # noqa: N815  # the library calls it so

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def set_up(url: str, keys: dict[str, tuple[str, str]], home: Path) -> None:
    """The job's user in one account, and in each account an API and a role of the job."""
    made = client("iam", url, keys[SHOP])
    user = made.create_user(UserName="job")["User"]["Arn"]
    roles = [f"arn:aws:iam::{account}:role/etl" for account in APIS]
    allowed = document(Action="sts:AssumeRole", Resource=roles)
    made.put_user_policy(UserName="job", PolicyName="etl", PolicyDocument=allowed)
    key = made.create_access_key(UserName="job")["AccessKey"]
    save("job", Profile(url, key["AccessKeyId"], key["SecretAccessKey"]), {"DAYPASS_HOME": str(home)})
    for account, audience in APIS.items():
        save(account, Profile(url, *keys[account]), {"DAYPASS_HOME": str(home)})
        iam = client("iam", url, keys[account])
        iam.create_role(
            RoleName="etl", AssumeRolePolicyDocument=document(Principal={"AWS": user}, Action="sts:AssumeRole")
        )
        may = document(Action="daypass:GetAccessToken", Resource=f"arn:aws:daypass::{account}:resource-server/*")
        iam.put_role_policy(RoleName="etl", PolicyName="tokens", PolicyDocument=may)
        lifetime = ("--token-seconds", str(TOKEN_SECONDS))
        cli(home, "resource-server", "put", audience, "--name", "api", *lifetime, "--profile", account, "--yes")


def api_of(url: str, account: str, key: tuple[str, str]) -> Api:
    verifier = Verifier(VerifierSettings(url, APIS[account], Profile(url, *key))).start()
    while verifier.age() > 1:  # it follows revocations
        time.sleep(0.05)
    return Api(verifier)


def send(method: str, url: str, auth: BearerAuth) -> None:
    """One call; a refusal ends the demo. With requests or httpx it is `get(url, auth=auth)`."""
    request = urllib.request.Request(url, method=method, headers=auth.headers(method, url, None))
    urllib.request.urlopen(request, timeout=20).close()


def run(source: tuple[str, BearerAuth], target: tuple[str, BearerAuth], seconds: float) -> int:
    """The job: one order after the other. How many it has moved."""
    ends, moved = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        send("GET", f"{source[0]}/orders/{moved}", source[1])
        send("PUT", f"{target[0]}/orders/{moved}", target[1])
        moved += 1
        time.sleep(0.2)
    return moved


def must_end(session: HeldSession) -> None:
    try:
        session.get()
    except CeilingReached as error:
        note(f"after the job: {error}")
        return
    sys.exit("the session outlived the job")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=70.0)
    seconds = parser.parse_args().seconds
    keys = {account: new_key() for account in APIS}
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(server(home / "data", keys, DAYPASS_SERVER__PUBLIC_URL="{url}"))
        os.environ["DAYPASS_HOME"] = str(home)
        say("1. Two accounts, an API and a role in each. Tokens for the APIs end after a minute.")
        set_up(url, keys, home)
        apis = {account: api_of(url, account, key) for account, key in keys.items()}
        at = {account: stack.enter_context(served(api)) for account, api in apis.items()}
        say(f"2. The job holds a session in each account and runs for {seconds:.0f} seconds.")
        held, auth = {}, {}
        with ExitStack() as job:
            for account, audience in APIS.items():
                role = f"arn:aws:iam::{account}:role/etl"
                held[account] = job.enter_context(held_session(role, ceiling=3600, profile="job", session_name="etl"))
                tokens = TokenSource(held[account].profile, held[account], audience)
                auth[account] = BearerAuth(at[account], tokens)
            moved = run((at[SHOP], auth[SHOP]), (at[WAREHOUSE], auth[WAREHOUSE]), seconds)
        for account, api in apis.items():
            note(f"{account}: {api.calls} calls, {len(api.tokens)} tokens, {api.refused} refused")
            if api.refused or (seconds > TOKEN_SECONDS and len(api.tokens) < 2):
                sys.exit("a token expired, or none was renewed")
        note(f"{moved} orders moved")
        must_end(held[SHOP])
        for api in apis.values():
            api.verifier.stop()
        say("3. The record")
        cli(home, "audit", "search", "--operation", "sts:AssumeRole", "--profile", SHOP, "--limit", "4")


if __name__ == "__main__":
    main()
