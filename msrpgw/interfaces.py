"""Every public interface, in terms of ``msrpgw.types``.

A plugin author imports this module and ``msrpgw.types``, nothing else.  Plugins are found with
``twisted.plugin`` in the package ``twisted.plugins`` and used when the configuration names them.
"""

from zope.interface import Attribute, Interface

from msrpgw.types import Event, Refusal, RequestFacts, Route


class IPolicy(Interface):
    """Decides which session a request belongs to, and how the other side is called."""

    def route_message(facts: RequestFacts) -> Route | Refusal:
        """Say where a MESSAGE belongs.  Called for each MESSAGE: must be quick, must not block."""

    def route_invite(facts: RequestFacts) -> Route | Refusal:
        """Say where an initial INVITE belongs."""


class IPolicyPlugin(Interface):
    """Makes a policy.  Provided by an object in a module of ``twisted.plugins``."""

    name: str = Attribute("What ``[policy] plugin`` names in the configuration file.")

    def make_policy(options: dict[str, object]) -> IPolicy:
        """Build the policy from the table ``[policy.options]``.

        Raises ValueError, saying which option is wrong, to stop the start-up.
        """


class IPageSender(Interface):
    """Sends page-mode notices through the gateway; handed to event sinks."""

    def send_page(from_uri: str, to_uri: str, ruri: str, content_type: str, body: bytes) -> None:
        """Queue one SIP MESSAGE; it takes its turn among the others for the same request URI."""


class IEventSink(Interface):
    """Takes events.  Must return at once: slow work belongs elsewhere."""

    def event_raised(event: Event) -> None:
        """Take one event.  An exception is logged and goes no further."""


class IEventSinkPlugin(Interface):
    """Makes an event sink.  Provided by an object in a module of ``twisted.plugins``."""

    name: str = Attribute("What ``[events] plugins`` names in the configuration file.")

    def make_sink(options: dict[str, object], pages: IPageSender) -> IEventSink:
        """Build the sink from the table ``[events.options.NAME]``.

        Raises ValueError, saying which option is wrong, to stop the start-up.
        """
