"""One call of a PKCS#11 library, in a separate process: an order from standard input, an answer on standard output.

It must never write key material or the PIN anywhere else.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from daypass.server.core_dumps import disable_core_dumps

_NONCE_BYTES: Final = 12
REFUSED_PIN: Final = "the PIN is wrong; it is not tried again, because tokens lock after some attempts"
_ADVICE: Final = {
    "PinIncorrect": REFUSED_PIN,
    "PinLocked": "the PIN is locked: reset it with the token's tool",
    "PinInvalid": "the PIN has characters that the token does not accept",
    "PinLenRange": "the PIN is too long or too short",
    "NoSuchKey": "the token has no such AES key, or it is not visible to this user",
    "MultipleObjectsReturned": "several keys have that name: give the id of one",
    "MultipleTokensReturned": "several tokens have that name: give the serial of one",
    "MechanismInvalid": "the token does not offer CKM_AES_GCM",
    "KeyFunctionNotPermitted": "the key needs CKA_ENCRYPT and CKA_DECRYPT",
    "EncryptedDataInvalid": "another key wrapped this value, or it was altered",
}
"""Failures that another attempt does not change, by the name of the exception."""


class _Unusable(Exception):
    """The call cannot succeed, and another attempt cannot either. The message says why."""


class _Order(msgspec.Struct, frozen=True):
    """See `pkcs11.Pkcs11`."""

    module: str
    pin_file: str
    token: str
    serial: str
    label: str
    key_id: bytes
    action: str
    data: bytes


def answer_to(order: _Order) -> dict[str, Any]:
    """`data`, or `error` and whether it is `temporary`."""
    try:
        import pkcs11  # noqa: PLC0415  # optional
    except ImportError:
        return {
            "error": "python-pkcs11 is not installed: pip install '.[pkcs11]' in a checkout of Daypass",
            "temporary": False,
        }
    try:
        return {"data": _call(order)}
    except _Unusable as error:
        return {"error": str(error), "temporary": False}
    except (pkcs11.exceptions.PKCS11Error, RuntimeError, OSError) as error:
        name = type(error).__name__
        return {
            "error": f"{name}: {_ADVICE.get(name, 'check the token and its library, and that this key wrapped the value')}",
            "temporary": name not in _ADVICE,
        }


def _call(order: _Order) -> bytes:
    from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass  # noqa: PLC0415  # optional
    from pkcs11.mechanisms import GCMParams  # noqa: PLC0415

    with _token(order).open(user_pin=_pin(order.pin_file)) as session:
        key: Any = session.get_key(
            object_class=ObjectClass.SECRET_KEY,
            key_type=KeyType.AES,
            label=order.label or None,
            id=order.key_id or None,
        )
        if key[Attribute.EXTRACTABLE]:
            raise _Unusable("the key may be read out of the token: make one with CKA_EXTRACTABLE false")
        encrypts = order.action == "encrypt"
        nonce = secrets.token_bytes(_NONCE_BYTES) if encrypts else order.data[:_NONCE_BYTES]
        call = key.encrypt if encrypts else key.decrypt
        data = order.data if encrypts else order.data[_NONCE_BYTES:]
        done = bytes(call(data, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(nonce)))
        return nonce + done if encrypts else done


def _token(order: _Order) -> Any:
    import pkcs11  # noqa: PLC0415  # optional

    if not Path(order.module).is_file():
        raise _Unusable(f"the library {order.module} (module-path) is not there")
    library = pkcs11.lib(order.module)
    serial = order.serial.encode() or None
    return library.get_token(token_label=order.token or None, token_serial=serial)


def _pin(file: str) -> str:
    try:
        return Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise _Unusable(f"the file of the PIN {file} (pin-source) cannot be read: {cause}") from None


def main() -> None:
    """Reads the order and writes the answer. Output of a library goes to standard error."""
    disable_core_dumps()
    answers = os.dup(1)
    os.dup2(2, 1)
    order = msgspec.msgpack.Decoder(_Order).decode(sys.stdin.buffer.read())
    with os.fdopen(answers, "wb") as out:
        out.write(msgspec.msgpack.encode(answer_to(order)))


if __name__ == "__main__":
    main()
