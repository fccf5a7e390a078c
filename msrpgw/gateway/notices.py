"""The MESSAGEs that tell a page user what was not delivered.

Imports templates and settings.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from msrpgw.errors import ConfigError
from msrpgw.gateway.settings import NoticeSettings
from msrpgw.gateway.templates import Template
from msrpgw.timers import Timers

#: From, To, request URI, Content-Type, body
SendPage = Callable[[str, str, str, str, bytes], None]


class Conversation(Protocol):
    """Whom a notice is about: a gateway session."""

    last_notice: float | None

    @property
    def page_uri(self) -> str:
        """The page user."""

    @property
    def msrp_uri(self) -> str:
        """The MSRP user."""


class _Facts(msgspec.Struct, frozen=True):
    page_uri: str
    msrp_uri: str
    code: int
    reason: str


_URIS: dict[str, Callable[[_Facts], str]] = {
    "from_uri": lambda facts: facts.page_uri,
    "to_uri": lambda facts: facts.msrp_uri,
}

_ALL: dict[str, Callable[[_Facts], str]] = {
    **_URIS,
    "code": lambda facts: str(facts.code),
    "reason": lambda facts: facts.reason,
}


def compile_templates(settings: NoticeSettings) -> dict[str, Template[_Facts]]:
    """The templates of ``[notice]``, by key.

    Raises ConfigError with every template that can't be read.
    """
    problems: list[str] = []
    templates: dict[str, Template[_Facts]] = {}
    for key in ("from_uri", "to_uri", "ruri", "setup_failed", "message_failed"):
        fields = _ALL if key.endswith("failed") else _URIS
        try:
            templates[key] = Template(getattr(settings, key), fields)
        except ValueError as error:
            problems.append(f"[notice] {key}: {error}")
    if problems:
        raise ConfigError(problems)
    return templates


class Notices:
    """Fills in the templates of ``[notice]``; at most one notice to a session in ``interval``.

    Raises ConfigError with every template that can't be read.
    """

    def __init__(self, settings: NoticeSettings, timers: Timers, send_page: SendPage) -> None:
        self._settings = settings
        self._timers = timers
        self._send_page = send_page
        self._templates = compile_templates(settings)

    def setup_failed(self, conversation: Conversation, code: int, reason: str) -> None:
        """Tell that no session came about, and so nothing was delivered."""
        self._send("setup_failed", conversation, code, reason)

    def message_failed(self, conversation: Conversation, code: int, reason: str) -> None:
        """Tell that a message which was accepted was not delivered."""
        self._send("message_failed", conversation, code, reason)

    def _send(self, body: str, conversation: Conversation, code: int, reason: str) -> None:
        settings = self._settings
        now = self._timers.seconds()
        last = conversation.last_notice
        if not settings.enabled or (last is not None and now < last + settings.interval):
            return
        conversation.last_notice = now
        facts = _Facts(conversation.page_uri, conversation.msrp_uri, code, reason)
        render = {key: template.render(facts) for key, template in self._templates.items()}
        self._send_page(
            render["from_uri"],
            render["to_uri"],
            render["ruri"],
            settings.content_type,
            render[body].encode("utf-8", "replace"),
        )
