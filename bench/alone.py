"""Imported by what starts servers and clients: they must not reach the installation that the reader's environment names."""

import os

for _name in [*os.environ]:
    if _name.startswith(("AWS_", "DAYPASS_")) and not _name.startswith("DAYPASS_TEST_"):
        del os.environ[_name]
