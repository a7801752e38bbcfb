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
from daypass.server.key_sources.pkcs11_call import REFUSED_PIN

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
