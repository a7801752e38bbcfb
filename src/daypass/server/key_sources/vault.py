"""A key of the transit engine of HashiCorp Vault or OpenBao. Its token is read from a file at every call."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any, Final

import msgspec

from daypass.crypto.key_encryption import KeySourceError
from daypass.federation.fetch import Bounds, Fetcher, FetchError, FetchReason, Order

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
