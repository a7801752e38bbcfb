"""A chain of roles over four accounts, for real: hop by hop, and flattened to the last role, with and without the client's cache.

The flattened role trusts the first principal itself. Each way is timed, hop by hop; the record shows the chain, and one
revocation of its first session ends all of it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from stage import cli, client, document, new_key, note, say, server

from daypass.client import AssumeRole, CredentialProvider
from daypass.client.credentials import Credentials, identity, session_profile
from daypass.client.errors import ClientError
from daypass.client.http import Connection
from daypass.client.profiles import Profile

ACCOUNTS = ("111122223333", "222233334444", "333344445555", "444455556666")
RUNS = 5


def role(account: str, name: str = "hop") -> str:
    return f"arn:aws:iam::{account}:role/{name}"


def set_up(url: str, keys: dict[str, tuple[str, str]]) -> Profile:
    """A role in each account, which the one before may assume, and one in the last that the user may assume itself."""
    first = client("iam", url, keys[ACCOUNTS[0]])
    before = first.create_user(UserName="job")["User"]["Arn"]
    reachable = document(Action="sts:AssumeRole", Resource=[role(ACCOUNTS[0]), role(ACCOUNTS[-1], "flat")])
    first.put_user_policy(UserName="job", PolicyName="chain", PolicyDocument=reachable)
    trusted = document(Principal={"AWS": before}, Action="sts:AssumeRole")
    client("iam", url, keys[ACCOUNTS[-1]]).create_role(RoleName="flat", AssumeRolePolicyDocument=trusted)
    for account, after in zip(ACCOUNTS, (*ACCOUNTS[1:], ""), strict=True):
        iam = client("iam", url, keys[account])
        trusted = document(Principal={"AWS": before}, Action="sts:AssumeRole")
        before = iam.create_role(RoleName="hop", AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
        if after:
            may = document(Action="sts:AssumeRole", Resource=role(after))
            iam.put_role_policy(RoleName="hop", PolicyName="next", PolicyDocument=may)
    key = first.create_access_key(UserName="job")["AccessKey"]
    return Profile(url, key["AccessKeyId"], key["SecretAccessKey"])


def walked(profile: Profile, roles: list[str], cache: Path) -> tuple[Credentials, list[float]]:
    """The credentials at the end of a chain, and the milliseconds of each hop."""
    timings = []
    for arn in roles:
        started = time.perf_counter()
        held = CredentialProvider(profile, AssumeRole(arn, session_name="job"), cache=cache).get()
        timings.append((time.perf_counter() - started) * 1000)
        profile = session_profile(profile, held)
    return held, timings


def shown(name: str, timings: list[list[float]]) -> float:
    """Prints the medians; the median of the whole."""
    hops = [sorted(column)[len(column) // 2] for column in zip(*timings, strict=True)]
    whole = sorted(map(sum, timings))[len(timings) // 2]
    note(f"{name:<28} {whole:7.1f} ms   hops: {'  '.join(f'{each:.1f}' for each in hops)}")
    return whole


def compared(profile: Profile, folder: Path) -> Credentials:
    """Times each way; the last session of the chain."""
    ways = {"hop by hop": [role(account) for account in ACCOUNTS], "flattened": [role(ACCOUNTS[-1], "flat")]}
    results = {}
    for name, roles in ways.items():
        cold, warm = [], []
        for run in range(RUNS):
            cache = folder / f"{name}-{run}"
            held, timings = walked(profile, roles, cache)
            cold.append(timings)
            again, timings = walked(profile, roles, cache)
            warm.append(timings)
            if again.access_key_id != held.access_key_id:
                sys.exit("the cache was not used")
        results[name] = shown(f"{name}, without cache", cold), shown(f"{name}, with cache", warm)
        if name == "hop by hop":
            last = held
    note(f"flattened: {results['flattened'][0] / results['hop by hop'][0]:.2f} of the time without cache")
    return last


def main() -> None:
    keys = {account: new_key() for account in ACCOUNTS}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with server(home / "data", keys) as url:
            say("1. Four accounts, a role in each. Each role may assume that of the next account")
            profile = set_up(url, keys)
            say(f"2. From the user to the last account: medians of {RUNS} runs")
            held = compared(profile, home)
            end = session_profile(profile, held)
            note(f"at the end: {identity(Connection(end))['Arn']}")
            say("3. The chain of the last session, as it is shown to itself")
            given = ("--endpoint", url, "--access-key-id", held.access_key_id, "--session-token", held.session_token)
            cli(home, "login", *given, "--secret-stdin", "--profile", "end", stdin=held.secret_access_key, quiet=True)
            cli(home, "whoami", "--profile", "end")
            say("4. The user's first session is revoked: the last account refuses at once")
            admin = Profile(url, *keys[ACCOUNTS[0]])
            subject = {"subject": "role", "value": role(ACCOUNTS[0])}
            Connection(admin).api("POST", "/revocations", body=subject)
            try:
                identity(Connection(end))
            except ClientError as error:
                note(f"refused: {error.code}")
            else:
                sys.exit("the chain outlived its first hop")


if __name__ == "__main__":
    main()
