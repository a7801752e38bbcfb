"""People with single sign-on, for real: their identity provider's response is their proof, by boto3 and by browser.

The identity provider is on this machine and signs as the real ones do; boto3 is unmodified, and the
browser's steps are a browser's.
"""

from __future__ import annotations

import base64
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from idp import IdentityProvider
from stage import cli, client, document, new_key, note, refusal, refused, say, server, session_key

SHOP, WAREHOUSE = "111122223333", "444455556666"
OPERATION = "sts:AssumeRoleWithSAML"
PROVIDER = f"arn:aws:iam::{SHOP}:saml-provider/corp"
DEVELOPER, RELEASE = f"arn:aws:iam::{SHOP}:role/developer", f"arn:aws:iam::{SHOP}:role/release"
FOREIGN = f"arn:aws:iam::{WAREHOUSE}:role/stock"


class Page(HTMLParser):
    """The visible lines of a page, and the form that a button sends."""

    _LINES = ("h1", "h2", "p", "li", "pre")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.form: dict[str, str] = {}
        self._in: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "input":  # it has no end
            self.form[given["name"] or ""] = given["value"] or ""
        elif tag not in ("meta", "link"):
            self._in.append(tag)
        if tag in self._LINES:
            self.lines.append("")

    def handle_endtag(self, tag: str) -> None:
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "main" not in self._in or not self.lines:
            return
        first, *more = data.split("\n")
        gap = " " if self._in[-1] in ("small", "button") else ""
        self.lines[-1] += gap + (f"[{first}]" if self._in[-1] == "button" else first)
        self.lines += more

    def show(self) -> None:
        """The beginning of the page."""
        seen = [line for line in self.lines if line.strip()]
        for line in seen[:10]:
            note(f"  | {line[:96]}{'…' if len(line) > 96 else ''}")
        headings = [line for line in seen[10:] if line in ("PowerShell", "~/.aws/credentials", "Environment file")]
        if headings:
            note(f"  | … and further down: {'; '.join(headings)}")


class Sso:
    """Ann's identity provider, and what she does with its responses."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.idp = IdentityProvider("https://sso.example.com/metadata")
        self.browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        settings = Config(signature_version=UNSIGNED, retries={"max_attempts": 0})
        self.sts = boto3.client("sts", endpoint_url=url, region_name="eu-central-1", config=settings)

    def response(self, roles: Sequence[str] = (DEVELOPER, RELEASE), idp: IdentityProvider | None = None) -> str:
        """A new response for Ann, with these roles of our provider."""
        attributes = {
            "Role": [f"{role},{PROVIDER}" for role in roles],
            "RoleSessionName": ["ann"],
            "PrincipalTag:Team": ["shop"],
        }
        return (idp or self.idp).response("ann", f"{self.url}/saml/acs", f"{self.url}/saml/metadata", attributes)

    def assume(self, response: str, role: str = DEVELOPER) -> dict[str, Any]:
        answer: dict[str, Any] = self.sts.assume_role_with_saml(
            RoleArn=role, PrincipalArn=PROVIDER, SAMLAssertion=response
        )
        return answer

    def turned_away(self, what: str, code: str, response: str, role: str = DEVELOPER) -> None:
        error = refused(lambda: self.assume(response, role), code).response["Error"]
        note(f"{what}: {error['Code']}: {error['Message'][:150]}")

    def visit(self, path: str, form: dict[str, str]) -> Page:
        """As a browser posts a form of a page; what comes back."""
        request = urllib.request.Request(f"{self.url}{path}", urlencode(form).encode())
        with self.browser.open(request, timeout=20) as answer:
            return Page(answer.read().decode())


def set_up(sso: Sso, keys: dict[str, tuple[str, str]]) -> Any:
    """The provider and two roles for its people in one account; in another, a role for that account's own provider."""
    iam, other = (client("iam", sso.url, keys[account]) for account in (SHOP, WAREHOUSE))
    iam.create_saml_provider(Name="corp", SAMLMetadataDocument=sso.idp.metadata())
    theirs = IdentityProvider("https://sso.warehouse.example/metadata").metadata()
    foreign = other.create_saml_provider(Name="corp", SAMLMetadataDocument=theirs)["SAMLProviderArn"]
    actions = ["sts:AssumeRoleWithSAML", "sts:TagSession"]
    here = {"saml:aud": f"{sso.url}/saml/acs"}
    for make, role, provider, condition in (
        (iam, DEVELOPER, PROVIDER, here),
        (iam, RELEASE, PROVIDER, {**here, "aws:RequestTag/Team": "release"}),
        (other, FOREIGN, foreign, here),
    ):
        trust = document(Principal={"Federated": provider}, Action=actions, Condition={"StringEquals": condition})
        make.create_role(RoleName=role.rpartition("/")[2], AssumeRolePolicyDocument=trust)
        note(f"{role} trusts {provider}, if {condition}")
    return iam


def by_browser(sso: Sso, home: Path) -> None:
    page = sso.visit("/saml/acs", {"SAMLResponse": sso.response()})
    page.show()
    note("Ann takes the first:")
    page = sso.visit("/saml/choose", {**page.form, "choice": "0"})
    page.show()
    lines = (line.removeprefix("export ").partition("=") for line in page.lines if line.startswith("export "))
    shown = {name: value.strip("'") for name, _, value in lines}
    key = tuple(shown[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"))
    note(f"boto3 with these: {client('sts', sso.url, key).get_caller_identity()['Arn']}")
    given = ("--assertion-file", "-", "--role", DEVELOPER, "--profile", "ann", "--endpoint", sso.url)
    cli(home, "login", "--saml", *given, stdin=sso.response())


def refusals(sso: Sso, used: str, home: Path) -> None:
    sso.turned_away("the same response again", "InvalidIdentityToken", used)
    altered = base64.b64decode(sso.response()).replace(b">shop<", b">release<")
    sso.turned_away("altered on the way", "InvalidIdentityToken", base64.b64encode(altered).decode())
    stranger = sso.response(idp=IdentityProvider(sso.idp.entity_id))
    sso.turned_away("signed with a stranger's key", "InvalidIdentityToken", stranger)
    sso.turned_away("a role of another account", "AccessDenied", sso.response([FOREIGN]), FOREIGN)
    sso.turned_away("a role that Ann's team may not have", "AccessDenied", sso.response(), RELEASE)
    cli(home, "explain", refusal(home, OPERATION)["request_id"])


def main() -> None:
    started = time.perf_counter()
    keys = {SHOP: new_key(), WAREHOUSE: new_key()}
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder) / "data", keys, DAYPASS_SERVER__PUBLIC_URL="{url}") as url,
    ):
        home, sso = Path(folder) / "home", Sso(url)
        key = keys[SHOP]
        cli(home, "login", "--endpoint", url, "--access-key-id", key[0], "--secret-stdin", stdin=key[1], quiet=True)
        say("1. boto3 imports the identity provider's metadata, and makes roles for its people")
        iam = set_up(sso, keys)

        say("2. Ann has a response of her identity provider; boto3 gets her a session with it")
        used = sso.response()
        answer = sso.assume(used)
        note(client("sts", url, session_key(answer)).get_caller_identity()["Arn"])
        note(f"subject {answer['Subject']} ({answer['SubjectType']}), audience {answer['Audience']}")

        say("3. By browser: the identity provider sends Ann to a page where she chooses, without a script; and the CLI")
        by_browser(sso, home)

        say("4. Refused; the last one is explained to the role's owner")
        refusals(sso, used, home)

        say("5. The identity provider changes its key: unknown until metadata with both keys is there")
        sso.idp.new_key()
        sso.turned_away("signed with the new key", "InvalidIdentityToken", sso.response())
        iam.update_saml_provider(SAMLProviderArn=PROVIDER, SAMLMetadataDocument=sso.idp.metadata())
        note(f"after the update: {sso.assume(sso.response())['AssumedRoleUser']['Arn']}")

        say("6. The record")
        cli(home, "audit", "search", "--operation", OPERATION)
        cli(home, "audit", "verify")
    say(f"Done in {time.perf_counter() - started:.1f} s.")


if __name__ == "__main__":
    main()
