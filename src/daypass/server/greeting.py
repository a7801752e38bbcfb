"""What `daypass serve` prints for the person who starts it: variables to paste, and where to go next."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from daypass.operations.accounts.bootstrap import FirstKey
from daypass.server import startup


@dataclass(frozen=True, slots=True)
class Greeting:
    """What the server prints when it is ready to answer.

    Attributes:
        key: that of `serve --dev`.
        code: the set-up code of `serve --setup`, or "".
        health_port: 0 when health and metrics have no port of their own.
    """

    url: str
    public_url: str
    data: Path
    key: FirstKey | None = field(repr=False)
    code: str = field(repr=False)
    health_port: int

    def write(self) -> None:
        """Prints it."""
        if self.key is not None:
            greet(self.url, self.key, self.public_url)
        else:
            sys.stderr.write(f"Daypass listens on {self.url}\n")
        if self.code:
            sys.stderr.write(setup_lines(self.public_url, self.data, self.code))
        if self.health_port:
            sys.stderr.write(f"Health and metrics are on port {self.health_port}\n")


def greet(url: str, key: FirstKey, public_url: str) -> None:
    """Prints the key of `serve --dev`, ready to paste, and what to try with it."""
    sys.stdout.write(
        f"""
Daypass listens on {url}

  ************************************************************************
  *  DEVELOPMENT MODE: an administrator's key is printed below.           *
  *  Loopback only. Never use this data directory for anything real.      *
  ************************************************************************

Paste this into a shell, and every AWS SDK and the AWS CLI work against it:
{_path_line()}
  export AWS_ENDPOINT_URL={url}
  export AWS_ENDPOINT_URL_STS={url} AWS_ENDPOINT_URL_IAM={url}
  export AWS_ACCESS_KEY_ID={key.key_id}
  export AWS_SECRET_ACCESS_KEY={key.secret}
  export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1

Then try:
  daypass whoami
  daypass exec reader daypass role ls
  aws sts assume-role --role-arn arn:aws:iam::{key.account}:role/reader --role-session-name me
{_console_lines(public_url, key)}"""
    )
    sys.stdout.flush()


def setup_lines(public_url: str, data: Path, code: str) -> str:
    """Where to make the first administrator. A log must not hold a secret, so only a terminal shows the code."""
    shown = code if sys.stderr.isatty() else f"in {data / startup.SETUP_CODE}"
    return f"Make the first administrator: {public_url.rstrip('/')}/console/setup\nThe set-up code is {shown}\n"


def _console_lines(public_url: str, key: FirstKey) -> str:
    """How to sign in to the console; "" when the pages are off."""
    if not public_url:
        return ""
    return f"""
Console:
  daypass iam CreateLoginProfile UserName={key.user} Password='Choose-1-of-your-own'
  {public_url}/console/  (account {key.account}, user {key.user})
"""


def _path_line() -> str:
    """A line for the shell if `daypass` is not on PATH, or is that of another installation, whose Python lacks boto3.

    "$PATH" is quoted for fish, where it is a list.
    """
    own, found = Path(sys.argv[0]).absolute(), shutil.which("daypass")
    if own.name != "daypass" or (found and Path(found).absolute() == own):
        return ""
    return f'\n  export PATH={shlex.quote(str(own.parent))}:"$PATH"'
