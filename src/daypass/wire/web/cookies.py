"""The cookie of a browser: 240 random bits, whose meaning is in the directory. And those of the theme, which console.js sets,
and of the account of the last sign-in, which the next one begins with.

Source: draft-ietf-httpbis-rfc6265bis, 4.1.3.2 (the prefix `__Host-`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.http import Header

_VALUE: Final = re.compile(r"[A-Za-z0-9+/=]{40}")  # what `Ids.secret` makes
_THEME: Final = re.compile(rb"(?:^|;) *daypass-theme=(dark|light) *(?:;|$)")
_ACCOUNT: Final = "daypass-account"
_ACCOUNT_VALUE: Final = re.compile(r"[A-Za-z0-9-]{1,63}")
_YEAR: Final = 31_536_000
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def theme(headers: Iterable[Header]) -> str:
    """The theme that the person has chosen, "dark" or "light"; "" for that of the system."""
    found = (_THEME.search(value) for name, value in headers if name == b"cookie")
    return next((match[1].decode("ascii") for match in found if match), "")


def account(headers: Iterable[Header]) -> str:
    """The account of the last sign-in in this browser, its id or alias; "" for none. It proves nothing."""
    found = only_value(headers, _ACCOUNT)
    return found if _ACCOUNT_VALUE.fullmatch(found) else ""


def only_value(headers: Iterable[Header], name: str) -> str:
    """The value of a cookie; "" when it is absent or there twice.

    Only spaces and tabs around a pair are left out. A no-break space belongs to the name: browsers let other hosts of the
    domain set a cookie whose name is one and then our name, because it does not begin with the prefix (attack A345).
    """
    text = b"; ".join(value for key, value in headers if key == b"cookie").decode("latin-1")
    pairs = (part.strip(" \t").partition("=") for part in text.split(";"))
    values = [value for key, _, value in pairs if key == name]
    return values[0] if len(values) == 1 else ""


class Cookies:
    """Reads and writes the cookie.

    Args:
        public_url: the installation's address. With https, the cookie has the prefix `__Host-` and the attribute
            Secure, so browsers accept it from this host only, over TLS only. Development servers on a loopback
            address have neither, because browsers keep no such cookies for plain HTTP.
    """

    def __init__(self, public_url: str) -> None:
        url = urlsplit(public_url)
        self.secure = url.scheme == "https"
        self.allowed = self.secure or url.hostname in _LOOPBACK
        """Whether people may sign in at all: a cookie must not cross a network in the clear."""
        self.name = "__Host-daypass" if self.secure else "daypass"
        self._local = url.netloc if not self.secure and url.hostname in _LOOPBACK else ""

    def is_elsewhere(self, headers: Iterable[Header]) -> bool:
        """Whether the browser uses another name of the loopback than `public_url`: there its cookie and its forms do not work."""
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if not self._local or len(hosts) != 1 or hosts[0] == self._local:
            return False
        return urlsplit(f"//{hosts[0]}").hostname in _LOOPBACK

    def value(self, headers: Iterable[Header]) -> str:
        """The value of the cookie; "" when it is absent, there twice, or not one of ours."""
        value = only_value(headers, self.name)
        return value if _VALUE.fullmatch(value) else ""

    def set(self, value: str) -> Header:
        """The header that gives the browser this value until it is closed."""
        return self._header(f"{self.name}={value}")

    def clear(self) -> Header:
        """The header that removes the cookie."""
        return self._header(f"{self.name}=; Max-Age=0")

    def remember_account(self, account: str) -> tuple[Header, ...]:
        """The header by which the next sign-in begins with this account; none for what is not an id or alias."""
        valid = _ACCOUNT_VALUE.fullmatch(account)
        return (self._header(f"{_ACCOUNT}={account}; Max-Age={_YEAR}"),) if valid else ()

    def _header(self, pair: str) -> Header:
        text = f"{pair}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if self.secure else ''}"
        return b"set-cookie", text.encode("ascii")


# --- Whether a form was sent by a page of ours that this browser was shown (attack A86)


FIELD: Final = "csrf"


def token(cookie: str) -> str:
    """The token for the forms of the browser with this cookie: 64 hex digits."""
    return hashlib.sha256(b"csrf\0" + cookie.encode("utf-8", "surrogatepass")).hexdigest()


def check(headers: Iterable[Header], origin: str, cookie: str, unverified_token: str) -> None:
    """Raises DaypassError(ACCESS_DENIED) unless the form comes from our page. `origin`: ours, "https://HOST"."""
    sent: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        sent.setdefault(name, []).append(value)
    if any(value != b"same-origin" for value in sent.get(b"sec-fetch-site", ())):
        raise _refusal("sec-fetch-site")
    if any(value != origin.encode("ascii") for value in sent.get(b"origin", ())):
        raise _refusal("origin")
    same = hmac.compare_digest(token(cookie).encode("ascii"), unverified_token.encode("utf-8", "surrogatepass"))
    if not cookie or not same:
        raise _refusal("token")


def _refusal(reason: str) -> DaypassError:
    return DaypassError(
        ErrorKind.ACCESS_DENIED,
        "This form does not come from the page that this browser was shown last. Go back, reload the page and try again. "
        "Cookies must be allowed.",
        private={"reason": "csrf", "csrf": reason},
    )


# --- The parameter `next`: where a browser goes after the sign-in


DEFAULT: Final = "/console/"
_PATH: Final = re.compile(
    r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@%-][A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
)
_MAX: Final = 6_144


def checked(unverified: str) -> str:
    """The path, or the default for anything else: another origin, `//host`, a backslash, a control character.

    The character after the first slash is neither a slash nor a backslash, so no browser reads a host in it.
    """
    return unverified if len(unverified) <= _MAX and _PATH.fullmatch(unverified) else DEFAULT
