"""`python -m tests.simulation.soak --minutes 10`: run it, print what it found, exit 1 when anything is unaccounted."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.simulation.soak.run import Settings, report, soak


def main() -> int:
    """Run one soak."""
    parser = argparse.ArgumentParser(prog="tests.simulation.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--lanes", type=int, default=48)
    parser.add_argument("--per-s", type=float, default=50.0, help="passages a second, all lanes together")
    parser.add_argument("--window-s", type=float, default=50.0, help="of the windows without and with faults")
    parser.add_argument("--faulty", type=int, default=12, help="lanes that fail in a window with faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the station's files, kept")
    given = parser.parse_args()
    windows = max(2, round(given.minutes * 60 / given.window_s / 2) * 2)
    settings = Settings(given.lanes, given.per_s, windows, given.window_s, given.faulty, given.seed)
    with tempfile.TemporaryDirectory(prefix="gate-soak-") as name:
        folder = given.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        found = asyncio.run(soak(settings, folder))
        print(report(found))
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
