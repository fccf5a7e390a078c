"""What an operator's look at everything costs the messages: full paged listings while they flow.

    python benchmarks/listing.py [--sessions 10000] [--rate 500] [--limit 250] [--runs 5]

In pairs: messages from page to MSRP users at a fixed rate, once left alone and once while all
sessions are listed, page after page, each second anew.  What counts is the p99 of the time from a
MESSAGE to its answer, with less the p99 without.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

import bench


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


def p99(driver: Path, directory: Path, options: argparse.Namespace, listed: bool) -> float:
    """Milliseconds; prints what the listing found."""
    *numbers, mi = bench.free_ports(4)
    ports = bench.Ports(*numbers)
    messages = options.rate * options.seconds + 2000
    traffic = bench.Traffic("page2msrp", "udp", options.sessions, messages, 2000, 50, options.rate)
    state = Path(tempfile.mkdtemp(dir=directory))
    command = [*bench.gateway_command(traffic, ports, state), "--mi", f"127.0.0.1:{mi}"]
    with bench.running(command, directory / "gateway.log") as pid:
        lister = Lister(mi, options.limit)
        arguments = map(str, (*ports, pid, *traffic[2:]))
        with subprocess.Popen(
            [driver, traffic.way, traffic.transport, "gateway", *arguments], stdout=subprocess.PIPE
        ) as driving:
            if listed:
                lister.start()
            assert driving.stdout is not None
            told = json.loads(driving.stdout.read() or b"{}")
            if listed:
                lister.stop()
    if not told:
        raise bench.BenchError("the driver gave up")
    if listed:
        print(f"  {len(lister.counts)} listings, of at most {max(lister.counts)} sessions")
    return float(told["p99_ms"])


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
    with tempfile.TemporaryDirectory(prefix="msrpgw-bench-") as temporary:
        directory = Path(temporary)
        driver = bench.compile_driver(directory)
        for _ in range(options.runs):
            alone = p99(driver, directory, options, listed=False)
            listed = p99(driver, directory, options, listed=True)
            added.append(listed - alone)
            print(f"p99 alone {alone:.2f} ms, while listing {listed:.2f} ms", flush=True)
    print(f"added to the p99: {statistics.median(added):.2f} ms (median of {len(added)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
