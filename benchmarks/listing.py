"""What an operator's look at everything costs the messages: full paged listings while they flow.

    python -m benchmarks.listing [--sessions 10000] [--rate 500] [--limit 250] [--runs 5]

In pairs: messages from page to MSRP users at a fixed rate, once left alone and once while all
sessions are listed, page after page, each second anew.  What counts is the p99 of the time from a
MESSAGE to its answer, with less the p99 without.
"""

import argparse
import json
import statistics
import sys
import threading
import urllib.request
from pathlib import Path

# As a script, too: the checkout that it is in is measured.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.hot_path import load_of
from benchmarks.subjects import Room, room, running


class Lister(threading.Thread):
    """Lists all sessions each second, in pages."""

    def __init__(self, port: int, limit: int) -> None:
        super().__init__(daemon=True)
        self._url = f"http://127.0.0.1:{port}/mi"
        self._limit = limit
        self._over = threading.Event()
        self.counts: list[int] = []

    def run(self) -> None:
        """Until told to stop."""
        while not self._over.is_set():
            self.counts.append(self._list())
            self._over.wait(1.0)

    def _list(self) -> int:
        found = 0
        params: dict[str, object] = {"limit": self._limit}
        while not self._over.is_set():
            request = {"jsonrpc": "2.0", "id": 1, "method": "msrpgw:list_sessions"}
            body = json.dumps(request | {"params": params}).encode()
            asked = urllib.request.Request(
                self._url, body, {"Content-Type": "application/json"}, method="POST"
            )
            with urllib.request.urlopen(asked) as answer:
                result = json.load(answer)["result"]
            found += len(result["Sessions"])
            if result["next"] is None:
                break
            params["after"] = result["next"]
        return found

    def stop(self) -> None:
        """And wait for the end."""
        self._over.set()
        self.join()


def p99(place: Room, options: argparse.Namespace, listed: bool) -> float:
    """Milliseconds; prints what the listing found."""
    with running("gateway", place) as gateway:
        gateway.driver.open(options.sessions)
        lister = Lister(gateway.ports.manage, options.limit)
        if listed:
            lister.start()
        load = load_of("page2msrp", options.rate, options.seconds)
        outcome = gateway.driver.flow(**load._asdict())
        if listed:
            lister.stop()
            print(f"  {len(lister.counts)} listings, of at most {max(lister.counts)} sessions")
    return outcome.p99_ms


def main() -> int:
    """Measure pairs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=10000, help="default: %(default)s")
    parser.add_argument("--rate", type=int, default=500, help="default: %(default)s")
    parser.add_argument("--seconds", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--limit", type=int, default=250, help="of a page; default: %(default)s")
    parser.add_argument("--runs", type=int, default=5, help="default: %(default)s")
    options = parser.parse_args()
    added = []
    with room() as place:
        for _ in range(options.runs):
            alone = p99(place, options, listed=False)
            listed = p99(place, options, listed=True)
            added.append(listed - alone)
            print(f"p99 alone {alone:.2f} ms, while listing {listed:.2f} ms", flush=True)
    print(f"added to the p99: {statistics.median(added):.2f} ms (median of {len(added)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
