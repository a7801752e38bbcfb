"""Signed calls over `http.client`: deadlines, retries with jitter, and the server's clock when ours is wrong.

A call never hangs: it has one deadline for all of its attempts. Answers are read up to a limit.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree as ET

from daypass import __version__, sigv4
from daypass.client.profiles import Profile

_MAX_ANSWER = 32 * 1024 * 1024
_RETRIED = frozenset({429, 500, 502, 503, 504})
_SKEWED = re.compile(r"Signature (expired|not yet current)")


class ClientError(Exception):
    """A call was answered with an error, or not answered.

    `code` is the protocol's code, "" when there was no answer; `status` the HTTP status, 0 likewise. `encoded` is the
    encoded authorization message, if one came.
    """

    def __init__(self, code: str, message: str, status: int = 0, request_id: str = "", encoded: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.request_id, self.encoded = code, message, status, request_id, encoded


@dataclass(slots=True)
class Connection:
    """Calls one server as one profile. `clock` gives seconds since the epoch; all waiting goes through `sleep`."""

    profile: Profile
    deadline: float = 20.0
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    _offset: float = field(default=0.0, init=False)  # the server's clock minus ours, once known

    def sts(self, action: str, **parameters: Any) -> ET.Element:
        """An STS call; the answer's result element. Parameters as for the query protocol, lists and dicts included."""
        pairs = {"Action": action, "Version": "2011-06-15", **_flatten(parameters)}
        body = urlencode(pairs).encode()
        status, _, answer = self._call("POST", "/", "", body, "application/x-www-form-urlencoded", "sts")
        root = _xml(answer, status)
        for child in root:
            if child.tag.endswith("Result"):
                return child
        raise ClientError("", f"the server's answer to {action} has no result", status)

    def api(self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None) -> Any:
        """A call of the management API; the decoded JSON answer."""
        raw_query = "&".join(f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}" for n, v in (query or {}).items() if v)
        data = b"" if body is None else json.dumps(body).encode()
        _, _, answer = self._call(method, f"/api/v1{path}", raw_query, data, "application/json", "daypass")
        return json.loads(answer) if answer else None

    # --- one call, with its attempts

    def _call(
        self, method: str, path: str, query: str, body: bytes, content_type: str, service: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        ends = self.monotonic() + self.deadline
        attempt, corrected = 0, False
        while True:
            try:
                status, headers, answer = self._once(
                    method, path, query, body, content_type, service, ends - self.monotonic()
                )
            except (OSError, http.client.HTTPException) as error:
                failure = ClientError("", f"{self.profile.endpoint} does not answer: {_reason(error)}")
            else:
                if status < 400:
                    return status, headers, answer
                failure = _refusal(status, headers, answer)
                if not corrected and _SKEWED.search(failure.message) and self._correct_clock(headers):
                    corrected = True
                    continue
                if status not in _RETRIED:
                    raise failure
            attempt += 1
            pause = min(4.0, 0.1 * 2**attempt) * (0.5 + self.jitter() / 2)
            if attempt > 6 or self.monotonic() + pause >= ends:
                raise failure
            self.sleep(pause)

    def _once(
        self, method: str, path: str, query: str, body: bytes, content_type: str, service: str, timeout: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        profile = self.profile
        url = urlsplit(profile.endpoint)
        now = int((self.clock() + self._offset) * 1000)
        key = sigv4.SigningKey(
            profile.access_key_id, profile.secret_access_key, profile.region, service, profile.session_token
        )
        headers = {"host": url.netloc}
        if body:
            headers["content-type"] = content_type
        sent = sigv4.sign(key, method, path, query, headers, body, now)
        connection = self._connect(url.scheme, url.hostname or "", url.port, max(0.1, timeout))
        try:
            target = f"{path}?{query}" if query else path
            connection.request(method, target, body or None, {**sent, "user-agent": f"daypass/{__version__}"})
            response = connection.getresponse()
            answer = response.read(_MAX_ANSWER + 1)
        finally:
            connection.close()
        if len(answer) > _MAX_ANSWER:
            raise ClientError("", "the server's answer is too large", response.status)
        return response.status, {n.lower(): v for n, v in response.getheaders()}, answer

    def _connect(self, scheme: str, host: str, port: int | None, timeout: float) -> http.client.HTTPConnection:
        if scheme == "https":
            context = ssl.create_default_context(cafile=self.profile.ca_bundle or None)
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        if scheme != "http" or not host:
            raise ClientError("", f"the endpoint {self.profile.endpoint!r} is not an http or https URL")
        return http.client.HTTPConnection(host, port, timeout=timeout)

    def _correct_clock(self, headers: Mapping[str, str]) -> bool:
        """Takes the server's time from its Date header (F3)."""
        try:
            server = parsedate_to_datetime(headers["date"]).timestamp()
        except (KeyError, ValueError, TypeError):
            return False
        self._offset = server - self.clock()
        return True


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _flatten(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The query protocol's form of nested parameters: Tags.member.1.Key=…"""
    flat: dict[str, str] = {}
    for name, value in parameters.items():
        full = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{full}.")
        elif isinstance(value, (list, tuple)):
            flat |= _flatten({str(i): v for i, v in enumerate(value, 1)}, f"{full}.member.")
        elif value is not None and value != "":
            flat[full] = str(value)
    return flat


def _xml(answer: bytes, status: int) -> ET.Element:
    if b"<!DOCTYPE" in answer[:1024]:
        raise ClientError("", "the server's answer is not one of Daypass", status)
    try:
        root = ET.fromstring(answer)  # noqa: S314  # no DOCTYPE, so no entities
    except ET.ParseError:
        raise ClientError("", "the server's answer is not XML", status) from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _refusal(status: int, headers: Mapping[str, str], answer: bytes) -> ClientError:
    request_id = headers.get("x-amzn-requestid", "")
    try:
        if "json" in headers.get("content-type", ""):
            error = json.loads(answer)["error"]
            return ClientError(
                str(error["code"]),
                str(error["message"]),
                status,
                str(error.get("request_id", request_id)),
                str(error.get("encoded_authorization_message", "")),
            )
        found = _xml(answer, status)
        text = {e.tag: e.text or "" for e in found.iter()}
        return ClientError(
            text["Code"],
            text.get("Message", ""),
            status,
            text.get("RequestId", request_id),
            text.get("EncodedAuthorizationMessage", ""),
        )
    except (ValueError, KeyError, TypeError, ClientError):
        return ClientError("", f"the server answered with HTTP status {status}", status, request_id)
