"""The client's part of certificates by role: new keys, certificates for them, and the lists of an account as files.

A list never replaces a newer one. New keys come from ssh-keygen, a part of every OpenSSH.
"""

from __future__ import annotations

import base64
import os
import re
import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from daypass.client.http import Connection
from daypass.client.profiles import LocalStateError, locked_there, replace_file

_WAIT_SECONDS: Final = 10.0
_MAGIC: Final = b"SSHKRL\n\0"
_KRL_HEAD: Final = struct.Struct(">8sIQ")
_CRL_NUMBER: Final = re.compile(r"# daypass ([0-9]{1,20})\n")
_TYPES: Final[Mapping[str, Sequence[str]]] = {
    "ssh-user": ("-t", "ed25519"),
    "ssh-host": ("-t", "ed25519"),
    "database": ("-t", "ecdsa", "-m", "PKCS8"),  # a form that libpq reads
}


def new_key(path: Path, kind: str) -> None:
    """A new private key without a passphrase, and its `.pub` file, unless another process has just made them. The key stands
    there after its public part, so that both are of one pair. Raises LocalStateError.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:  # mode 0700
            command = ["ssh-keygen", "-q", *_TYPES[kind], "-N", "", "-C", "", "-f", f"{folder}/key"]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)  # noqa: S603  # ours
            for suffix in (".pub", ""):
                os.link(f"{folder}/key{suffix}", f"{path}{suffix}")
    except FileExistsError:
        return
    except FileNotFoundError:
        raise LocalStateError("ssh-keygen is not installed: it makes the key.") from None
    except subprocess.CalledProcessError as error:
        raise LocalStateError(f"ssh-keygen: {error.stderr.decode(errors='replace').strip()}") from None
    except OSError as error:
        raise LocalStateError(f"{path.parent} cannot be written: {error.strerror}.") from None


def certify(connection: Connection, key: Path, kind: str, names: Sequence[str], **wanted: Any) -> Path:
    """A certificate for a key, beside it, as its program looks for it. A missing key is made. Raises ClientError,
    LocalStateError.
    """
    public = Path(f"{key}.pub")
    if not key.exists() and not public.exists():
        new_key(key, kind)
    try:
        line = public.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise LocalStateError(f"{public} cannot be read: {error.strerror}.") from None
    body = {"kind": kind, "public_key": line, "names": list(names), **{n: v for n, v in wanted.items() if v}}
    made = connection.api("POST", "/certificates", body=body)
    place = Path(f"{key}.crt" if kind == "database" else f"{key}-cert.pub")
    replace_file(place, str(made["certificate"]).rstrip("\n") + "\n", 0o644)
    return place


def contents(authorities: Mapping[str, Any]) -> dict[str, str | bytes]:
    """The content of an account's files, by the name of the option."""
    return {
        "ssh_user_ca": "".join(f"{line}\n" for line in authorities["ssh_user"]),
        "known_hosts": "".join(f"@cert-authority * {line}\n" for line in authorities["ssh_host"]),
        "database_ca": "".join(authorities["database"]),
        "krl": base64.b64decode(authorities["krl"]),
        "crl": f"# daypass {authorities['number']}\n{authorities['crl']}",
    }


def store(path: Path, content: str | bytes) -> None:
    """Replaces a file of an account, unless it is a newer list. Raises LocalStateError."""
    with locked_there(path.with_name(f".{path.name}.lock"), _WAIT_SECONDS):
        _store(path, content)


def _store(path: Path, content: str | bytes) -> None:
    try:
        held = path.read_bytes()
    except FileNotFoundError:
        held = b""
    except OSError as error:
        raise LocalStateError(f"{path} cannot be read: {error.strerror}.") from None
    new = content.encode() if isinstance(content, str) else content
    if _number(new) < _number(held):
        raise LocalStateError(f"{path} is newer than the list that the server has sent: it was not replaced.")
    replace_file(path, new, 0o644)


def _number(content: bytes) -> int:
    """The number of a list; 0 of any other file."""
    if content.startswith(_MAGIC) and len(content) >= _KRL_HEAD.size:
        return int(_KRL_HEAD.unpack_from(content)[2])
    found = _CRL_NUMBER.match(content[:64].decode("ascii", "replace"))
    return int(found[1]) if found else 0
