"""The key sources: Vault's or OpenBao's transit engine, AWS KMS, and an HSM by PKCS#11."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from daypass.crypto.key_encryption import KeySource, KeySourceError, RingError
from daypass.federation.fetch import Bounds, Fetcher, FetchError, FetchReason, Order
from daypass.server.pkcs11_call import REFUSED_PIN

_TEMPORARY: Final = frozenset(
    {FetchReason.RESOLVE, FetchReason.CONNECT, FetchReason.TIMEOUT, FetchReason.PROTOCOL, FetchReason.BUSY}
)
_ADVICE: Final = {
    400: "The key did not make this ciphertext, or its version is archived: check the name of the key",
    403: "Check the token, and that its policy allows `update` on encrypt/ and decrypt/ of the key",
    404: "Check the mount and the namespace",
    503: "Vault is sealed or in maintenance: unseal it",
}


class _Answer(msgspec.Struct, frozen=True):
    data: dict[str, Any]


_read = msgspec.json.Decoder(_Answer).decode


class VaultTransit:
    """See `crypto.key_encryption.KeySource`.

    Args:
        address: scheme, host and port.
        mount: the path of the transit engine.
        ca_file: PEM, beside the system's roots; "" for none.
        namespace: "" for none.
    """

    kind = "hcvault"

    def __init__(
        self, address: str, mount: str, key: str, *, token_file: str, ca_file: str, namespace: str, seconds: float
    ) -> None:
        self.name = f"Vault at {address}, key {mount}/keys/{key}"
        self._paths = {action: f"{address}/v1/{mount}/{action}/{key}" for action in ("encrypt", "decrypt")}
        self._plain = address.startswith("http:")
        self._token_file = token_file
        self._ca_file = ca_file
        self._namespace = namespace
        self._seconds = seconds

    def wrap(self, data_key: bytes) -> bytes:
        """See `KeySource`."""
        return self._call("encrypt", {"plaintext": base64.b64encode(data_key).decode()}, "ciphertext").encode()

    def unwrap(self, wrapped: bytes) -> bytes:
        """See `KeySource`."""
        plaintext = self._call("decrypt", {"ciphertext": wrapped.decode("ascii", "replace")}, "plaintext")
        try:
            return base64.b64decode(plaintext, validate=True)
        except ValueError:
            raise self._unexpected_answer("decrypt") from None

    def _call(self, action: str, body: dict[str, str], wanted: str) -> str:
        headers = [("x-vault-token", self._text_of(self._token_file).strip()), ("x-vault-request", "true")]
        headers.append(("content-type", "application/json"))
        if self._namespace:
            headers.append(("x-vault-namespace", self._namespace))
        order = Order(
            self._paths[action],
            body=msgspec.json.encode(body),
            ca_pem=self._text_of(self._ca_file) if self._ca_file else "",
            allow_private=True,
            allow_http=self._plain,
            headers=tuple(headers),
        )
        try:
            fetched = asyncio.run(Fetcher(Bounds(seconds=self._seconds)).fetch(order))
            answer = _read(fetched.body)
            return str(answer.data[wanted])
        except FetchError as error:
            advice = _ADVICE.get(error.status, "Check that Vault runs and can be reached from here")
            temporary = error.reason in _TEMPORARY or error.status == 429 or error.status >= 500
            raise KeySourceError(f"{self.name} cannot {action}: {error}. {advice}.", temporary=temporary) from None
        except (msgspec.MsgspecError, KeyError):
            raise self._unexpected_answer(action) from None

    def _unexpected_answer(self, action: str) -> KeySourceError:
        return KeySourceError(f"{self.name} cannot {action}: the answer is not Vault's.", temporary=False)

    def _text_of(self, file: str) -> str:
        try:
            return Path(file).read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            cause = error.strerror if isinstance(error, OSError) else "it is not ASCII"
            raise KeySourceError(f"{self.name}: the file {file} cannot be read: {cause}.", temporary=False) from None


# --- A symmetric key of AWS KMS


_CONTEXT: Final = {"daypass": "key-encryption-key"}  # authenticated; policies of keys may require it
_AWS_KMS_TEMPORARY: Final = frozenset(
    {"ThrottlingException", "DependencyTimeoutException", "KMSInternalException", "KeyUnavailableException"}
)
_AWS_KMS_ADVICE: Final = {
    "AccessDeniedException": "Allow kms:Encrypt and kms:Decrypt on the key to the credentials of this process",
    "NotFoundException": "Check the ARN and its region",
    "DisabledException": "Enable the key",
    "KMSInvalidStateException": "The key is pending deletion or unavailable: restore it",
    "InvalidCiphertextException": "Another key wrapped this value, or it was altered",
    "IncorrectKeyException": "Another key wrapped this value",
    "InvalidKeyUsageException": "The key must be symmetric, for ENCRYPT_DECRYPT",
}


class AwsKms:
    """See `crypto.key_encryption.KeySource`.

    Args:
        arn: of a key or of an alias.
        endpoint: "" for that of the region. The endpoints of the environment and of profiles are ignored, because those
            of Daypass itself are often set there.
    """

    kind = "aws-kms"

    def __init__(self, arn: str, region: str, endpoint: str, seconds: float) -> None:
        self.name = f"AWS KMS key {arn}"
        self._arn = arn
        self._region = region
        self._endpoint = endpoint
        self._seconds = seconds

    def wrap(self, data_key: bytes) -> bytes:
        """See `KeySource`."""
        return bytes(self._call("encrypt", Plaintext=data_key)["CiphertextBlob"])

    def unwrap(self, wrapped: bytes) -> bytes:
        """See `KeySource`."""
        return bytes(self._call("decrypt", CiphertextBlob=wrapped)["Plaintext"])

    def _call(self, action: str, **arguments: bytes) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  # much to import, for few servers

        try:
            client = self._client()
            try:
                answer: dict[str, Any] = getattr(client, action)(
                    KeyId=self._arn, EncryptionContext=_CONTEXT, **arguments
                )
            finally:
                client.close()
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            advice = _AWS_KMS_ADVICE.get(code, "Check the key and the credentials of this process")
            temporary = code in _AWS_KMS_TEMPORARY or status >= 500
            raise KeySourceError(f"{self.name} cannot {action}: {code}. {advice}.", temporary=temporary) from None
        except (BotoCoreError, ValueError) as error:
            advice = "Check the credentials of this process, the endpoint and the network"
            message = f"{self.name} cannot {action}: {type(error).__name__}. {advice}."
            raise KeySourceError(message, temporary=True) from None
        return answer

    def _client(self) -> Any:
        from botocore.config import Config  # noqa: PLC0415  # see `_call`
        from botocore.session import get_session  # noqa: PLC0415  # the same

        config = Config(
            connect_timeout=self._seconds,
            read_timeout=self._seconds,
            retries={"total_max_attempts": 1},
            ignore_configured_endpoint_urls=True,
        )
        return get_session().create_client(
            "kms", region_name=self._region, endpoint_url=self._endpoint or None, config=config
        )


# --- An AES key of a PKCS#11 token


_pkcs11_read = msgspec.msgpack.Decoder(dict[str, Any]).decode


class Pkcs11:
    """See `crypto.key_encryption.KeySource`. Token and key are found by those of their attributes that are not empty.

    Args:
        module: path of the token's library.
        pin_file: file with the user's PIN. Only the process that calls the library reads it.
    """

    kind = "pkcs11"

    def __init__(
        self, *, module: str, pin_file: str, token: str, serial: str, label: str, key_id: bytes, seconds: float
    ) -> None:
        self.name = f"PKCS#11 token {token or serial}, key {label or key_id.hex()}"
        self._place: dict[str, Any] = {
            "module": module,
            "pin_file": pin_file,
            "token": token,
            "serial": serial,
            "label": label,
            "key_id": key_id,
        }
        self._seconds = seconds
        self._refused_pin: tuple[int, ...] = ()  # the state of the file whose PIN the token has refused

    def wrap(self, data_key: bytes) -> bytes:
        """See `KeySource`."""
        return self._call("encrypt", data_key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """See `KeySource`."""
        return self._call("decrypt", wrapped)

    def _call(self, action: str, data: bytes) -> bytes:
        pin = self._pin_state()
        if pin and pin == self._refused_pin:
            raise self._failed(action, f"PinIncorrect: {REFUSED_PIN}", temporary=False)
        order = msgspec.msgpack.encode({**self._place, "action": action, "data": data})
        command = [sys.executable, "-m", "daypass.server.pkcs11_call"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DAYPASS_")}
        try:
            ran = subprocess.run(  # noqa: S603  # our own module
                command, input=order, stdout=subprocess.PIPE, timeout=self._seconds, env=environment, check=False
            )
            answer = _pkcs11_read(ran.stdout)
        except subprocess.TimeoutExpired:
            raise self._failed(action, f"no answer within {self._seconds:g} s", temporary=True) from None
        except (OSError, msgspec.MsgspecError):
            raise self._failed(action, "the process that calls the token's library has ended", temporary=True) from None
        if "error" in answer:
            if answer["error"].startswith("PinIncorrect"):
                self._refused_pin = pin
            raise self._failed(action, str(answer["error"]), temporary=bool(answer["temporary"]))
        return bytes(answer["data"])

    def _pin_state(self) -> tuple[int, ...]:
        """Changes when the file of the PIN is written; () when there is none."""
        try:
            found = os.stat(self._place["pin_file"])  # noqa: PTH116  # the place is a text
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _failed(self, action: str, cause: str, *, temporary: bool) -> KeySourceError:
        return KeySourceError(f"{self.name} cannot {action}: {cause}.", temporary=temporary)


# --- URIs of key sources: `pkcs11:` (RFC 7512), `aws-kms://` and `hcvault://` (the forms of Tink)


_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def key_source(text: str, seconds: float) -> KeySource:
    """The source of a URI. Nothing is connected to. `seconds`: the longest time for one call. Raises RingError."""
    scheme = text.partition(":")[0].lower()
    read = _SCHEMES.get(scheme)
    if read is None:
        raise RingError(f"a key source is a URI that begins with one of: {', '.join(f'{name}:' for name in _SCHEMES)}.")
    return read(text, seconds)


def is_key_source(text: str) -> bool:
    """Whether this is the URI of a key source, and not the name of a file."""
    return text.partition(":")[0].lower() in _SCHEMES


def _pkcs11(text: str, seconds: float) -> Pkcs11:
    """RFC 7512. The token and the key by name or number, the library and the file of the PIN."""
    path, _, query = text.partition(":")[2].partition("?")
    place = _attributes(path, ";", ("token", "serial", "object", "id"))
    access = _attributes(query, "&", ("module-path", "pin-source"))
    for wanted, alternatives in (("token", ("token", "serial")), ("object", ("object", "id"))):
        if not any(name in place for name in alternatives):
            raise RingError(f"the PKCS#11 URI does not name the {' or '.join(alternatives)} of the {wanted}.")
    for wanted in ("module-path", "pin-source"):
        if wanted not in access:
            raise RingError(f"the PKCS#11 URI has no {wanted}.")
    key_id = bytes.fromhex(place["id"].encode("latin-1").hex()) if "id" in place else b""
    return Pkcs11(
        module=access["module-path"],
        pin_file=access["pin-source"].removeprefix("file:"),
        token=place.get("token", ""),
        serial=place.get("serial", ""),
        label=place.get("object", ""),
        key_id=key_id,
        seconds=seconds,
    )


def _attributes(text: str, separator: str, known: tuple[str, ...]) -> dict[str, str]:
    parts = {}
    for part in filter(None, text.split(separator)):
        name, _, value = part.partition("=")
        if name not in known:
            raise RingError(f"the PKCS#11 URI has the attribute {name!r}; known are: {', '.join(known)}.")
        parts[name] = unquote(value, "latin-1") if name == "id" else unquote(value)
    return parts


def _aws_kms(text: str, seconds: float) -> AwsKms:
    """aws-kms://KEY_ARN[?endpoint=URL]."""
    arn, _, query = text.partition("://")[2].partition("?")
    options = _options(query, ("endpoint",), "aws-kms")
    parts = arn.split(":")
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != "kms" or not parts[3]:
        raise RingError("the key source aws-kms://KEY_ARN needs the ARN of a key or of an alias.")
    return AwsKms(arn, parts[3], options.get("endpoint", ""), seconds)


def _hcvault(text: str, seconds: float) -> VaultTransit:
    """hcvault://HOST[:PORT]/MOUNT/keys/NAME?token-file=FILE[&ca-file=FILE][&namespace=NAME][&tls=off]."""
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        raise RingError("the key source hcvault:// is not a URL.") from None
    options = _options(parts.query, ("token-file", "ca-file", "namespace", "tls"), "hcvault")
    mount, _, name = parts.path.strip("/").rpartition("/keys/")
    if not host or "@" in parts.netloc or not mount or not name:
        raise RingError("the key source is hcvault://HOST[:PORT]/MOUNT/keys/NAME?token-file=FILE.")
    if "token-file" not in options:
        raise RingError("the key source hcvault:// has no token-file.")
    plain = options.get("tls") == "off"
    if options.get("tls", "off") != "off" or (plain and host not in _LOOPBACK):
        raise RingError("the key source hcvault:// has `tls`; it may only be `off`, for a server on this machine.")
    return VaultTransit(
        f"{'http' if plain else 'https'}://{parts.netloc}",
        mount,
        name,
        token_file=options["token-file"],
        ca_file=options.get("ca-file", ""),
        namespace=options.get("namespace", ""),
        seconds=seconds,
    )


def _options(query: str, known: tuple[str, ...], scheme: str) -> Mapping[str, str]:
    attributes = dict(parse_qsl(query, keep_blank_values=True))
    for name in attributes:
        if name not in known:
            raise RingError(f"the key source {scheme}:// has the parameter {name!r}; known are: {', '.join(known)}.")
    return attributes


_SCHEMES: Final[Mapping[str, Callable[[str, float], KeySource]]] = {
    "pkcs11": _pkcs11,
    "aws-kms": _aws_kms,
    "hcvault": _hcvault,
}
