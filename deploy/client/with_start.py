"""Puts start.py into an archive of shiv, in place of its own start. usage: with_start.py ARCHIVE"""

import sys
import zipfile
from pathlib import Path


def replaced(archive: Path, start: bytes) -> None:
    """Rewrites the archive: the same files, times and modes, so that the same input gives the same bytes."""
    with archive.open("rb") as file:
        line = file.readline()
    made = archive.with_suffix(".tmp")
    with zipfile.ZipFile(archive) as source, made.open("wb") as out:
        out.write(line)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
            for entry in source.infolist():
                content = start if entry.filename == "__main__.py" else source.read(entry)
                target.writestr(entry, content)
    made.chmod(archive.stat().st_mode)
    made.replace(archive)


if __name__ == "__main__":
    replaced(Path(sys.argv[1]), (Path(__file__).parent / "start.py").read_bytes())
