"""URIs of key sources: `pkcs11:` (RFC 7512), `aws-kms://` and `hcvault://` (the forms of Tink). None contains a secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from daypass.crypto.key_encryption import KeySource, RingError
from daypass.server.key_sources.sources import AwsKms, Pkcs11, VaultTransit

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
