"""The results as a picture.

May import: matplotlib, which only ``make bench-full`` installs.
"""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot

SLICE = 0.25  #: seconds; the driver's
LOADS = ("saturation", "500/s", "1000/s", "5000/s")
TITLES = {"page2msrp": "MESSAGE to SEND", "msrp2page": "SEND to MESSAGE"}


def _cost(axes: Any, way: str, cost: dict[str, list[float]]) -> None:
    for number, (name, color) in enumerate((("floor", "0.7"), ("gateway", "tab:blue"))):
        heights = [cost[f"udp {way} {load}"][number] for load in LOADS]
        places = [place + 0.4 * number for place in range(len(LOADS))]
        axes.bar(places, heights, 0.4, label=name, color=color)
    axes.set_xticks([place + 0.2 for place in range(len(LOADS))], LOADS)
    axes.set_title(f"{TITLES[way]}, UDP")
    axes.set_ylabel("µs of CPU a message")
    axes.legend()


def _storm(axes: Any, way: str, sustained: dict[str, Any]) -> None:
    slices = sustained["storm"]
    seconds = [number * SLICE for number in range(len(slices))]
    for number, (name, color) in ((0, ("due", "0.7")), (3, ("delivered", "tab:blue"))):
        rates = [each[number] / SLICE for each in slices]
        axes.step(seconds, rates, where="post", color=color, label=name)
    axes.axhline(sustained["crowded"], color="tab:green", linestyle=":", label="highest rate")
    axes.set_title(f"{TITLES[way]}: twice the highest rate, then half")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("s")
    axes.set_ylabel("messages a second")
    axes.legend()


def plot(figures: dict[str, Any], file: Path) -> None:
    """Draw what there is: cost a message, and what overload does."""
    rows = [(_cost, "cost"), (_storm, "sustained")]
    rows = [row for row in rows if row[1] in figures]
    if not rows:
        return
    # The same figures give the same file.
    matplotlib.rcParams["svg.hashsalt"] = "msrpgw"
    figure, grid = pyplot.subplots(
        len(rows), 2, figsize=(11, 4 * len(rows)), squeeze=False, layout="constrained"
    )
    for (draw, name), line in zip(rows, grid, strict=True):
        for axes, way in zip(line, TITLES, strict=True):
            draw(axes, way, figures[name] if name == "cost" else figures[name][way])
    figure.suptitle("\n".join(figures["machine"][:3]), fontsize=9)
    figure.savefig(file, metadata={"Date": None})
