"""Signed calls: one deadline for all attempts, retries with jitter, and the server's clock when ours is wrong.

A call never hangs, and a request that is not safe to repeat is not sent twice.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode
from xml.etree import ElementTree as ET

from daypass import __version__, sigv4
from daypass.client.errors import ClientError, Members
from daypass.client.profiles import Profile
from daypass.client.transport import ClientRequest, ClientResponse, NoAnswer, Transport, endpoint_of, exchange

_RETRIED = frozenset({429, 500, 502, 503, 504})
_UNABLE_STATUS = 503
_UNDONE = 429  # the only error that guarantees that nothing has been done
_ATTEMPTS = 7
_UNREACHED = 1.0  # seconds for which an unreachable server is retried
_UNREACHED_ATTEMPTS = 3  # on a busy machine each attempt takes time of its own
_UNABLE = 1.0  # seconds for which a server that answers 503 is retried: 503 mostly lasts
_MAX_MESSAGE = 4096  # characters of a server's message that are kept
_NOT_IMPLEMENTED = 501  # Daypass has no such answer
_SKEWED = re.compile(r"Signature (expired|not yet current)")
_SAFE = "-_.~"


class _Call(NamedTuple):
    method: str
    path: str
    query: str
    body: bytes
    content_type: str
    service: str
    repeatable: bool


@dataclass(slots=True)
class Connection:
    """Calls one server as one profile. `clock` gives seconds since the epoch; all waiting goes through `sleep`.

    `deadline` is in seconds, for a whole call with its retries. `offset` is the server's clock minus ours, once known.
    """

    profile: Profile
    deadline: float = 20.0
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    transport: Transport = exchange
    offset: float = field(default=0.0, init=False)

    def sts(self, action: str, **parameters: Any) -> ET.Element:
        """An STS call; the answer's result element. Parameters as for the query protocol, lists and dicts included."""
        return self._query("sts", "2011-06-15", action, parameters, repeatable=True)

    def iam(self, action: str, **parameters: Any) -> ET.Element:
        """An IAM call; the answer's result element, or, of a call that has none, its root."""
        return self._query("iam", "2010-05-08", action, parameters, repeatable=not action.startswith("Create"))

    def _query(
        self, service: str, version: str, action: str, parameters: Mapping[str, Any], *, repeatable: bool
    ) -> ET.Element:
        pairs = {"Action": action, "Version": version, **_flatten(parameters)}
        body = urlencode(pairs, errors="replace").encode()
        call = _Call("POST", "/", "", body, "application/x-www-form-urlencoded", service, repeatable=repeatable)
        return result_of(self._call(call), action, bare=service == "iam")

    def api(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        repeatable: bool = True,
        root: str = "/api/v1",
        service: str = "daypass",
    ) -> Any:
        """A call of the management API, or of the one below `root`, signed for `service`; the decoded JSON answer. Segments
        of `path` are quoted (see `segment`).

        `repeatable=False`: it is not safe to repeat, so it is not retried once the server may have acted on it.
        """
        raw_query = "&".join(f"{quote(n, safe=_SAFE)}={segment(v)}" for n, v in (query or {}).items() if v)
        data = b"" if body is None else json.dumps(body).encode()
        answer = self._call(
            _Call(method, f"{root}{path}", raw_query, data, "application/json", service, repeatable=repeatable)
        )
        return content_of(answer) if answer.body else None

    # --- one call, with its attempts

    def _call(self, call: _Call) -> ClientResponse:
        began = self.monotonic()
        ends = began + self.deadline
        last_start = ends  # no attempt begins later; one that has begun may take the time that the call has left
        attempt, most, corrected = 0, _ATTEMPTS, False
        while True:
            failure, again = None, False
            try:
                answer = self._once(call, ends - self.monotonic())
            except NoAnswer as error:
                failure = ClientError("", f"the server at {self.profile.endpoint} does not answer: {error}")
                again = not error.final and (call.repeatable or not error.sent)
                if not error.sent:
                    last_start, most = min(last_start, began + _UNREACHED), _UNREACHED_ATTEMPTS
                if error.sent and not call.repeatable:
                    failure = ClientError(
                        "", f"{failure.message}; the server may have acted on it: check before you repeat it"
                    )
            else:
                if 200 <= answer.status < 300:
                    return answer
                failure = _refusal(answer, self.profile.endpoint)
                if not corrected and _SKEWED.search(failure.message) and self._correct_clock(answer.headers):
                    corrected = True
                    continue
                again = answer.status == _UNDONE or (call.repeatable and answer.status in _RETRIED)
                if answer.status == _UNABLE_STATUS:
                    last_start = min(last_start, began + _UNABLE)
            attempt += 1
            pause = min(4.0, 0.1 * 2 ** (attempt - 1)) * (0.5 + self.jitter() / 2)
            if not again or attempt >= most or self.monotonic() + pause >= last_start:
                raise failure
            self.sleep(pause)

    def _once(self, call: _Call, seconds: float) -> ClientResponse:
        request = signed_request(
            self.profile,
            call.method,
            call.path,
            call.query,
            call.body,
            content_type=call.content_type,
            service=call.service,
            now=self.clock() + self.offset,
        )
        return self.transport(request, max(0.1, seconds))

    def _correct_clock(self, headers: Mapping[str, str]) -> bool:
        """Takes the server's time from its Date header (F3)."""
        found = offset_of(headers, self.clock())
        if found is None:
            return False
        self.offset = found
        return True


def offset_of(headers: Mapping[str, str], now: float) -> float | None:
    """The server's clock minus ours, by the Date header of its answer; None without a usable one."""
    try:
        return parsedate_to_datetime(headers["date"]).timestamp() - now
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def signed_request(
    profile: Profile,
    method: str,
    path: str,
    query: str = "",
    body: bytes = b"",
    *,
    content_type: str = "",
    service: str,
    now: float,
) -> ClientRequest:
    """A request that the profile's credentials have signed. `now`: seconds since the epoch, by the server's clock."""
    key = sigv4.SigningKey(
        profile.access_key_id, profile.secret_access_key, profile.region, service, profile.session_token
    )
    headers = {"host": endpoint_of(profile.endpoint).netloc}
    if body:
        headers["content-type"] = content_type
    sent = sigv4.sign(key, method, path, query, headers, body, int(now * 1000))
    target = f"{path}?{query}" if query else path
    return ClientRequest(
        profile.endpoint, method, target, {**sent, "user-agent": f"daypass/{__version__}"}, body, profile.ca_bundle
    )


def post_form(
    endpoint: str,
    path: str,
    fields: Mapping[str, Any],
    *,
    ca_bundle: str = "",
    seconds: float = 20.0,
    transport: Transport = exchange,
) -> ClientResponse:
    """One unsigned form, as the query protocol nests it. It is sent once, because its proof may be valid only once.

    Raises ClientError.
    """
    headers = {"host": endpoint_of(endpoint).netloc, "content-type": "application/x-www-form-urlencoded"}
    body = urlencode(_flatten(fields), errors="replace").encode()
    request = ClientRequest(
        endpoint, "POST", path, {**headers, "user-agent": f"daypass/{__version__}"}, body, ca_bundle
    )
    try:
        answer = transport(request, seconds)
    except NoAnswer as error:
        raise ClientError("", f"the server at {endpoint} does not answer: {error}") from None
    if not 200 <= answer.status < 300:
        raise _refusal(answer, endpoint)
    return answer


def result_of(answer: ClientResponse, action: str, *, bare: bool = False) -> ET.Element:
    """The result element of the query protocol's answer. `bare`: or the root of one that has none. Raises ClientError."""
    root = _xml(answer)
    for child in root:
        if child.tag.endswith("Result"):
            return child
    if bare and root.tag == f"{action}Response":
        return root
    raise ClientError("", f"the server's answer to {action} has no result", answer.status)


def segment(value: str) -> str:
    """A value as one segment of a path, or a query's value."""
    return quote(value, safe=_SAFE, errors="replace")


def _flatten(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The query protocol's form of nested parameters: Tags.member.1.Key=…

    An empty text is left out, except the value of a tag, which may be empty.
    """
    flat: dict[str, str] = {}
    for name, value in parameters.items():
        full = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{full}.")
        elif isinstance(value, (list, tuple)):
            flat |= _flatten({str(i): v for i, v in enumerate(value, 1)}, f"{full}.member.")
        elif value is not None and (value != "" or prefix):
            flat[full] = str(value)
    return flat


def content_of(answer: ClientResponse) -> Any:
    """The JSON of an answer. Raises ClientError."""
    try:
        return json.loads(answer.body, object_hook=Members)
    except (ValueError, RecursionError):
        raise ClientError("", "the server's answer is not JSON", answer.status) from None


def _xml(answer: ClientResponse) -> ET.Element:
    """The root, its tags without namespaces. A document type, and so an entity, is refused everywhere."""
    try:
        text = answer.body.decode("utf-8")
        if "<!DOCTYPE" in text:
            raise ClientError("", "the server's answer is not from Daypass", answer.status)
        root = ET.fromstring(text)  # noqa: S314  # no DOCTYPE, so no entities; text, so no other encoding
    except (ET.ParseError, ValueError):
        raise ClientError("", "the server's answer is not XML", answer.status) from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _json_error(body: Mapping[str, Any], headers: Mapping[str, str], request_id: str) -> dict[str, str]:
    """The members of an error of the management API, or of AWS's REST protocol, which has the code in a header."""
    if "x-amzn-errortype" in headers:
        encoded = str(body.get("encodedAuthorizationMessage") or "")
        code, message = headers["x-amzn-errortype"], str(body["message"])
    else:
        error = body["error"]
        encoded = error.get("encoded_authorization_message") or ""
        code, message, request_id = error["code"], error["message"], error.get("request_id", request_id)
    return {"Code": code, "Message": message, "RequestId": request_id, "EncodedAuthorizationMessage": encoded}


def _refusal(answer: ClientResponse, endpoint: str) -> ClientError:
    """The error of an answer; one that is not in a format of Daypass may come from another server, or a proxy."""
    request_id = answer.headers.get("x-amzn-requestid", "")
    try:
        if "json" in answer.headers.get("content-type", ""):
            error = _json_error(json.loads(answer.body), answer.headers, request_id)
        else:
            error = {e.tag: e.text or "" for e in _xml(answer).iter()}
        refused = ClientError(
            str(error["Code"])[:128],
            str(error.get("Message", ""))[:_MAX_MESSAGE],
            answer.status,
            str(error.get("RequestId", request_id))[:128],
            str(error.get("EncodedAuthorizationMessage", "")),
        )
        refused.endpoint = endpoint
        return refused
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ClientError):
        what = f"the server at {endpoint} answered with HTTP status {answer.status}"
        question = ": is it a Daypass server?" if answer.status <= _NOT_IMPLEMENTED else ""
        return ClientError("", what + question, answer.status, request_id[:128])
