"""``python -m askguru_lib.databases.samples <folder>``: build the embedded databases and their db_conn.json."""

from __future__ import annotations

import argparse
import sys

from askguru_lib.databases.samples import ENGINES, NAMES, build_all
from askguru_lib.errors import AskGuruError


def main() -> int:
    """Build; print the path of ``db_conn.json``; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m askguru_lib.databases.samples", description=__doc__)
    parser.add_argument("folder", help="where the files go, e.g. runs/tiny/databases")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(NAMES), help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--engine", choices=ENGINES, default="sqlite", help="default: sqlite")
    parser.add_argument("--force", action="store_true", help="build again what is up to date")
    args = parser.parse_args()
    try:
        print(build_all(args.folder, args.only, args.engine, args.force))
    except AskGuruError as e:
        print(e, file=sys.stderr)
        return e.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
