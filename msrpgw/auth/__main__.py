"""Makes lines for the users file: ``python -m msrpgw.auth USER REALM``.

Asks for the password, or reads it from a pipe, and prints a line for each algorithm.
"""

import argparse
import getpass
import sys

from msrpgw.auth.digest import ALGORITHMS, make_ha1


def main() -> int:
    """Ask and print."""
    parser = argparse.ArgumentParser(
        prog="python -m msrpgw.auth", description="Lines for the file [auth] users_file."
    )
    parser.add_argument("user")
    parser.add_argument("realm")
    options = parser.parse_args()
    if ":" in options.user or ":" in options.realm:
        parser.error("there can be no colon in user and realm")
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    for algorithm in ALGORITHMS:
        ha1 = make_ha1(algorithm, options.user, options.realm, password)
        print(f"{options.user}:{options.realm}:{algorithm}:{ha1}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
