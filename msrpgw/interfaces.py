"""Every public interface, in terms of ``msrpgw.types``.

A plugin author imports this module and ``msrpgw.types``, nothing else.  Plugins are found with
``twisted.plugin`` in the package ``twisted.plugins`` and used when the configuration names them.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from msrpgw.types import (
    Event,
    JournalContents,
    JournalDialog,
    JournalEntry,
    Outcome,
    Refusal,
    RequestFacts,
    Route,
    UserCredentials,
)


class IPolicy(Interface):
    """Decides which session a request belongs to, and how the other side is called."""

    def route_message(facts: RequestFacts) -> Route | Refusal:
        """Say where a MESSAGE belongs.  Called for each MESSAGE: must be quick, must not block."""

    def route_invite(facts: RequestFacts) -> Route | Refusal:
        """Say where an initial INVITE belongs."""


class IAddressPolicy(IPolicy):
    """A policy whose ``route_message`` depends on request URI, From and To alone.

    It is asked once for each three of them, and its answer kept.
    """


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


class ICredentials(Interface):
    """Knows the users who prove who they are with a password."""

    def lookup(username: str, realm: str) -> UserCredentials | None:
        """What is known of a user; None for somebody unknown.  Must be quick, must not block."""


class ICredentialsPlugin(Interface):
    """Makes credentials.  Provided by an object in a module of ``twisted.plugins``."""

    name: str = Attribute("What ``[auth] plugin`` names in the configuration file.")

    def make_credentials(options: dict[str, object]) -> ICredentials:
        """Build them from the table ``[auth.options]``.

        Raises ValueError, saying which option is wrong, to stop the start-up.
        """


class IJournal(Interface):
    """Keeps the messages in our custody where a crash does not reach them.

    No method waits for a disk.  Only ``put`` tells when it is done; what else it is told may
    reach the disk a little later, and a crash in between repeats a message, never loses one.
    """

    durable: bool = Attribute("Whether what is kept outlives the process.")
    healthy: bool = Attribute("Whether the latest attempt to write succeeded.")

    def open(found: Callable[[JournalContents], None]) -> None:
        """Begin.  Called once, before anything listens.

        ``found`` is told, once, what an earlier process left: before this returns, or later if
        it can't be read yet.  Raises JournalError when there is no use in starting.
        """

    def put(entry: JournalEntry, on_saved: Callable[[bool], None]) -> None:
        """Keep an entry: a new one, or a changed one in place of the one with its id.

        ``on_saved`` is called once: True when it is on disk, False when it can't be had there.
        It may be called before this returns.
        """

    def end(id: str, outcome: Outcome) -> None:
        """A message has its outcome: it is delivered no more, and its id remembered a while."""

    def put_dialog(dialog: JournalDialog) -> None:
        """Keep a dialog, in place of the one with its Call-ID."""

    def end_dialog(call_id: str) -> None:
        """A dialog is over."""

    def close() -> Deferred[None]:
        """Write what is still to be written, and end; fires when all is done."""
