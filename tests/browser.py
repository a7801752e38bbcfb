"""A browser without a screen: it keeps one installation's cookies, follows its redirects, and fills in its forms."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.attack.installation import Answer, Installation

BASE = "https://daypass.test"


@dataclass
class Form:
    """A form of a page: where it goes, its fields, and the values of its buttons by name."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)
    options: str = ""  # of a form that asks for a passkey


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.text: list[str] = []
        self._area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            options = given.get("data-options", "")
            self.forms.append(Form(given.get("action", ""), given.get("method", "get"), options=options))
        elif given.get("type") in ("checkbox", "radio") and "checked" not in given:
            pass
        elif tag == "textarea" and self.forms:
            self._area = given["name"]
            self.forms[-1].fields[self._area] = ""
        elif tag in ("input", "select", "option") and self.forms:
            fields = self.forms[-1].fields
            if tag == "option":
                name = next(reversed(fields))
                if not fields[name] or "selected" in given:
                    fields[name] = given["value"]
            elif "name" in given:
                fields[given["name"]] = given.get("value", "")
        elif tag == "button" and self.forms and "name" in given:
            self.forms[-1].buttons.append((given["name"], given.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._area = ""

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._area:
            self.forms[-1].fields[self._area] += data.removeprefix("\n")


def forms(answer: Answer) -> dict[str, Form]:
    """The forms of a page by the path that they go to, without its query (the last, where several go to the same)."""
    return parsed_forms(answer.body.decode())


def parsed_forms(page: str) -> dict[str, Form]:
    """The forms of a page's text, as `forms`."""
    reader = _Reader()
    reader.feed(page)
    return {form.action.partition("?")[0]: form for form in reader.forms}


def text(answer: Answer) -> str:
    """The visible text of a page."""
    reader = _Reader()
    reader.feed(answer.body.decode())
    return " ".join(" ".join(reader.text).split())


@dataclass
class Browser:
    site: Installation
    base: str = BASE
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, target: str, *headers: tuple[bytes, bytes]) -> Answer:
        """GET of a path with its query."""
        parts = urlsplit(target)
        sent = [*self._cookie(), *headers]
        return self._kept(
            self.site.send("GET", sent, path=parts.path.encode("ascii"), query=parts.query.encode("ascii"))
        )

    def post(
        self, path: str, fields: dict[str, str], *headers: tuple[bytes, bytes], origin: str | None = None
    ) -> Answer:
        """POST of a form, as a page of `origin` (by default ours) sends it."""
        return self._kept(
            self.site.send("POST", *self.posted(fields, *headers, origin=origin), path=path.encode("ascii"))
        )

    def posted(
        self, fields: dict[str, str], *headers: tuple[bytes, bytes], origin: str | None = None
    ) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Headers and body of such a POST."""
        own = origin is None or origin == self.base
        site = b"same-origin" if own else b"cross-site"
        sent = [
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"origin", (self.base if own else str(origin)).encode("ascii")),
            (b"sec-fetch-site", site),
            *self._cookie(),
            *headers,
        ]
        return sent, urlencode(fields).encode("ascii")

    def submit(self, answer: Answer, path: str, **fields: str) -> Answer:
        """Fills in the form of a page that goes to `path`, and sends it."""
        return self.post(path, {**forms(answer)[path].fields, **fields})

    def confirm(self, answer: Answer, path: str, **fields: str) -> Answer:
        """Sends a form that a person without MFA confirms by a button, and confirms it."""
        return self.submit(self.submit(answer, path, **fields), path)

    def sign_in(self, account: str, user: str, password: str, following: str = "") -> Answer:
        """The first step of a sign-in."""
        page = self.get(f"/login?{urlencode({'next': following})}" if following else "/login")
        return self.submit(page, "/login/password", account=account, user=user, password=password)

    def _cookie(self) -> list[tuple[bytes, bytes]]:
        pairs = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return [(b"cookie", pairs.encode("latin-1"))] if pairs else []

    def _kept(self, answer: Answer) -> Answer:
        if "html" in answer.headers.get("content-type", ""):
            ids = Counter(re.findall(rb'<[a-z][^<>]* id="([^"]*)"', answer.body))
            assert not [each for each, times in ids.items() if times > 1], "scripts find the first of them only"
        for given in answer.headers.get("set-cookie", "").splitlines():
            pair, *attributes = (part.strip() for part in given.split(";"))
            name, _, value = pair.partition("=")
            if "Max-Age=0" in attributes:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return answer


def query_of(answer: Answer) -> dict[str, str]:
    """The parameters in the address to which an answer redirects."""
    assert answer.status == 303, (answer.status, answer.body)
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query, keep_blank_values=True))


def refused(site: Installation, answer: Answer, status: int) -> dict[str, Any]:
    """Checks that an answer is a page of a refusal: on the record once, not cached, framed by nobody. Returns its record."""
    assert answer.status == status, (answer.status, answer.body)
    assert answer.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    records = [record for record in site.records(answer.request_id) if record.get("error")]
    assert len(records) == 1, records
    return records[0]
