"""The first thing that daypass.pyz runs: unpacks the client and starts it. It must not end in a traceback."""

import sys

import _bootstrap  # of shiv, in the archive

try:
    _bootstrap.bootstrap()
except (OSError, RuntimeError) as error:  # the client reports its own errors, so these are of the unpacking
    file = getattr(error, "filename", None)
    why = f"{file}: {error.strerror}" if file else str(error)
    sys.stderr.write(f"daypass: cannot unpack itself: {why}. Set SHIV_ROOT to a directory of your own.\n")
    sys.exit(6)
