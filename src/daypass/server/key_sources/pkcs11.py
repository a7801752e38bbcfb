"""An AES key of a PKCS#11 token. Each call runs in a process of its own (`pkcs11_call`).

The vendor's library may hang, crash or not support a fork, and none of that may affect the server.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import msgspec

from daypass.crypto.key_encryption import KeySourceError

_read = msgspec.msgpack.Decoder(dict[str, Any]).decode


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
        self._place = {
            "module": module,
            "pin_file": pin_file,
            "token": token,
            "serial": serial,
            "label": label,
            "key_id": key_id,
        }
        self._seconds = seconds

    def wrap(self, data_key: bytes) -> bytes:
        """See `KeySource`."""
        return self._call("encrypt", data_key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """See `KeySource`."""
        return self._call("decrypt", wrapped)

    def _call(self, action: str, data: bytes) -> bytes:
        order = msgspec.msgpack.encode({**self._place, "action": action, "data": data})
        command = [sys.executable, "-m", "daypass.server.key_sources.pkcs11_call"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DAYPASS_")}
        try:
            ran = subprocess.run(  # noqa: S603  # our own module
                command, input=order, stdout=subprocess.PIPE, timeout=self._seconds, env=environment, check=False
            )
            answer = _read(ran.stdout)
        except subprocess.TimeoutExpired:
            raise self._failed(action, f"no answer within {self._seconds:g} s", temporary=True) from None
        except (OSError, msgspec.MsgspecError):
            raise self._failed(action, "the process that calls the token's library has ended", temporary=True) from None
        if "error" in answer:
            raise self._failed(action, str(answer["error"]), temporary=bool(answer["temporary"]))
        return bytes(answer["data"])

    def _failed(self, action: str, cause: str, *, temporary: bool) -> KeySourceError:
        return KeySourceError(f"{self.name} cannot {action}: {cause}.", temporary=temporary)
