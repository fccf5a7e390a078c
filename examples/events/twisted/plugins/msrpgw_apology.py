"""An example event sink: counts events, and tells page users what went wrong in its own words.

With ``[notice] enabled = false`` its MESSAGE is the only one that they get.
"""

from collections import Counter

from twisted.logger import Logger
from twisted.plugin import IPlugin
from zope.interface import implementer

from msrpgw.interfaces import IEventSink, IEventSinkPlugin, IPageSender
from msrpgw.types import Event

_log = Logger()


@implementer(IEventSink)
class Apology:
    """Takes every event; returns at once."""

    def __init__(self, pages: IPageSender, texts: dict[int, str], default: str) -> None:
        self._pages = pages
        self._texts = texts  # by the code of the failure
        self._default = default
        self.counted: Counter[str] = Counter()

    def event_raised(self, event: Event) -> None:
        """Count it; when a session could not be set up, tell who wrote."""
        self.counted[event.name] += 1
        if event.name != "E_MSRP_GW_SETUP_FAILED":
            return
        parameters = event.parameters
        text = self._texts.get(parameters["code"], self._default)
        # The event has the URIs of a MESSAGE back to the page user.
        self._pages.send_page(
            parameters["from_uri"],
            parameters["to_uri"],
            parameters["ruri"],
            "text/plain",
            text.encode("utf-8"),
        )
        _log.info(
            "{count} sessions could not be set up so far; told {user!r}",
            count=self.counted[event.name],
            user=parameters["to_uri"],
        )


@implementer(IPlugin, IEventSinkPlugin)
class ApologyPlugin:
    """Makes the sink from ``[events.options.apology]``."""

    name = "apology"

    def make_sink(self, options: dict[str, object], pages: IPageSender) -> Apology:
        """Check the options; raises ValueError for what can't be used.

        Each is a code or ``default``, with the text to send.
        """
        texts: dict[int, str] = {}
        default = "Your message could not be delivered."
        for key, text in options.items():
            if not isinstance(text, str):
                raise ValueError(f"{key}: must be a text")
            if key == "default":
                default = text
            elif key.isdecimal() and 300 <= int(key) <= 699:
                texts[int(key)] = text
            else:
                raise ValueError(f"{key}: must be a SIP status from 300 to 699, or default")
        return Apology(pages, texts, default)


#: what twisted.plugin finds
apology = ApologyPlugin()
