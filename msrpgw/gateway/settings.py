"""The tables ``[gateway]``, ``[delivery]``, ``[policy]`` and ``[notice]`` of the configuration."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]


class GatewaySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the gateway's sessions.  Times in seconds; 0 turns a time-out off."""

    #: a session ends when no MESSAGE came for so long
    message_timeout: Seconds = 7200.0
    #: a session ends when nothing came from either side for so long
    session_timeout: Seconds = 43200.0
    #: a session ends at this age
    max_duration: Seconds = 0.0
    #: how long an INVITE to the MSRP user may take, until the MSRP session is bound
    setup_timeout: Seconds = 60.0
    #: how long a MESSAGE's answer waits for the MSRP peer's; then 202 (see DESIGN: custody)
    hold_message: Annotated[float, Meta(ge=0, le=3)] = 0.3
    #: the same of one that caused, or found, a call which is being set up; 0: none
    hold_setup: Annotated[float, Meta(ge=0, le=3)] = 0.3
    #: how long a SEND's 200 waits for the page user's answer
    hold_send: Annotated[float, Meta(ge=0, le=20)] = 5.0
    #: how long a message may stay behind an MSRP relay before its REPORT is given up
    relay_timeout: Annotated[float, Meta(gt=0)] = 120.0
    #: how long shutdown waits for messages on their way, and then for sessions to end
    shutdown_grace: Seconds = 5.0
    #: most messages waiting in one session and direction; more get 480 (MSRP 413)
    queue_limit: Count = 1000
    #: most bytes of messages waiting in one session and direction
    queue_bytes: Count = 4_194_304
    #: most messages waiting in the whole gateway; more get 503
    total_queue_limit: Count = 100_000
    #: most sessions at a time; more get 503
    max_sessions: Count = 100_000
    #: first wait before a request URI that timed out is tried again; doubles up to ``backoff_max``
    backoff: Seconds = 2.0
    backoff_max: Seconds = 32.0


class DeliverySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How messages in our custody are delivered.  Times in seconds, sizes in bytes."""

    #: how long delivery is tried; 0: once
    message_ttl: Seconds = 86400.0
    #: first wait before the next attempt; doubles up to ``retry_max``
    retry_interval: Annotated[float, Meta(gt=0)] = 2.0
    retry_max: Annotated[float, Meta(gt=0)] = 300.0
    #: how long a message that is tried again may keep back those behind it to the same page user
    retry_block: Seconds = 60.0
    #: SIP status of a MESSAGE, or of the call to an MSRP user, that another attempt may mend
    retry_sip: tuple[Annotated[int, Meta(ge=300, le=699)], ...] = (408, 480, 500, 503, 504)
    #: MSRP status of a SEND, or of a REPORT about it, that another attempt may mend
    retry_msrp: tuple[Annotated[int, Meta(ge=300, le=999)], ...] = (408,)
    #: largest MESSAGE to a page user whose route is not congestion-safe (RFC 3428 §8)
    message_max: Annotated[int, Meta(ge=500)] = 1300
    #: what becomes of a longer text: numbered MESSAGEs, or 413
    long_messages: Literal["split", "refuse"] = "split"


class PolicySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The built-in policy: templates over the request; ``docs/policy.md`` lists the fields."""

    #: name of an ``IPolicyPlugin`` to use in place of the templates
    plugin: str | None = None
    #: handed to the plugin as it is
    options: dict[str, object] = {}
    #: what a session is found by
    message_key: str = "{to_uri}:{from_uri}"
    invite_key: str = "{from_uri}:{to_uri}"
    #: the INVITE that a MESSAGE causes
    invite_from: str = "{from_uri}"
    invite_to: str = "{to_uri}"
    invite_ruri: str = "{ruri}"
    #: the MESSAGEs that an INVITE's session causes
    message_from: str = "{from_uri}"
    message_to: str = "{to_uri}"
    message_ruri: str = "{ruri}"
    #: what MSRP users may send, written to a=accept-types
    content_types: tuple[str, ...] = ("text/plain",)
    #: every hop to the page users is known to be safe for large messages, over TCP
    congestion_safe: bool = False


class NoticeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The MESSAGE that tells a page user about a failed set-up or an undelivered message."""

    enabled: bool = True
    #: templates over the failed message's session: {from_uri} is the page user, {to_uri} the other
    from_uri: str = "{to_uri}"
    to_uri: str = "{from_uri}"
    ruri: str = "{from_uri}"
    content_type: str = "text/plain"
    #: also {code} and {reason}
    setup_failed: str = "Failed to establish session, error: {code} {reason}"
    #: the same when the messages wait for another attempt
    delayed: str = "Not delivered yet, error: {code} {reason}; trying again"
    #: also {code}, {reason}, {text} (its first words), {time} (when it came) and {others}
    message_failed: str = (
        'Message not delivered, error: {code} {reason}; it was "{text}" of {time}{others}'
    )
    #: at most one notice to a session in so many seconds; what failed meanwhile is counted
    interval: Seconds = 10.0
