"""The table of management commands: names, parameters, one sentence each.

The reference in docs/ is made of it.
"""

import typing

from msrpgw.gateway.operator import MAX_ROWS
from msrpgw.manage.rpc import Command, Parameter

if typing.TYPE_CHECKING:
    from msrpgw.manage.commands import Commands, Program


def _string(name: str, summary: str, *, optional: bool = False) -> Parameter:
    return Parameter(name, str, summary, optional)


_KEY = _string("key", "key of the session")
_ID = _string("id", "id of the message, as journal_list shows it")
_LIMIT = Parameter("limit", int, f"most rows, at most {MAX_ROWS}", True)
_AFTER = _string("after", "the last key of the answer before", optional=True)
_SESSION_ID = _string("session_id", "session-id part of our MSRP URI")
_FROM = _string("from_uri", "From")
_TO = _string("to_uri", "To")


def catalogue(commands: "Commands", program: "Program") -> list[Command]:
    """All commands, in the order of the reference."""
    statistics = Parameter("statistics", list, "names, groups (name:) or all", True)
    filters = (
        _string("pattern", "pattern of keys, with * and ?", optional=True),
        _string("state", "setting_up, up or moving", optional=True),
    )
    return [
        Command(
            "msrp_gw_list_sessions",
            commands.list_sessions,
            "List sessions, in the order of their keys.",
            (_LIMIT, _AFTER),
            ("msrp_gateway:list_sessions",),
        ),
        Command(
            "msrp_gw_end_session",
            commands.end_session,
            "End a session, in whatever state it is.",
            (_KEY,),
            ("msrp_gateway:end_session",),
        ),
        Command(
            "msrp_ua_start_session",
            commands.ua_start_session,
            "Call an MSRP user.",
            (
                _string("content_types", "what the MSRP user may send, separated by spaces"),
                _FROM,
                _TO,
                _string("ruri", "request URI"),
            ),
            ("msrp_ua:start_session",),
        ),
        Command(
            "msrp_ua_send_message",
            commands.ua_send_message,
            "Send a text over a session.",
            (
                _SESSION_ID,
                _string("mime", "content type", optional=True),
                _string("body", "text", optional=True),
            ),
            ("msrp_ua:send_message",),
        ),
        Command(
            "msrp_ua_list_sessions",
            commands.ua_list_sessions,
            "List the MSRP side of all sessions.",
            (),
            ("msrp_ua:list_sessions",),
        ),
        Command(
            "msrp_ua_end_session",
            commands.ua_end_session,
            "End a session by its MSRP session-id.",
            (_SESSION_ID,),
            ("msrp_ua:end_session",),
        ),
        Command(
            "get_statistics",
            commands.get_statistics,
            "Values of statistics.",
            (statistics._replace(optional=False),),
            ("statistics:get",),
        ),
        Command(
            "list_statistics",
            commands.list_statistics,
            "Names of all statistics, and what kind each is.",
            (statistics,),
            ("statistics:list",),
        ),
        Command(
            "reset_statistics",
            commands.reset_statistics,
            "Set counters back to 0.",
            (statistics._replace(optional=False),),
            ("statistics:reset",),
        ),
        Command("uptime", commands.uptime, "Since when it runs.", (), ("core:uptime",)),
        Command("version", commands.version, "Name and version.", (), ("core:version",)),
        Command("pwd", commands.pwd, "Working directory.", (), ("core:pwd",)),
        Command(
            "which",
            commands.which,
            "Names of all commands, or the parameters of one.",
            (_string("command", "name of a command", optional=True),),
            ("core:which",),
        ),
        Command("ps", commands.ps, "Processes: there is one.", (), ("core:ps",)),
        Command(
            "log_level",
            commands.log_level,
            "The level of the log; with an argument, set it.",
            (_string("level", "debug to critical, or OpenSIPS's -3 to 4", optional=True),),
            ("core:log_level",),
        ),
        Command(
            "event_subscribe",
            commands.event_subscribe,
            "Get an event over UDP or TCP.",
            (
                _string("event", "name of the event"),
                _string("socket", "udp:ADDRESS:PORT or tcp:ADDRESS:PORT"),
                Parameter("expire", int, "seconds, default 3600; 0 ends it", True),
            ),
            ("evi:subscribe",),
        ),
        Command("events_list", commands.events_list, "Names of all events.", (), ("evi:list",)),
        Command(
            "subscribers_list",
            commands.subscribers_list,
            "Who gets which events.",
            (
                _string("event", "only of this event", optional=True),
                _string("socket", "only this subscriber", optional=True),
            ),
            ("evi:subscribers",),
        ),
        Command(
            "raise_event",
            commands.raise_event,
            "Raise an event, to try who hears it.",
            (
                _string("event", "name of the event"),
                Parameter("params", list, "values, or name=value", True),
            ),
            ("evi:raise",),
        ),
        Command("msrpgw:status", program.status, "How it is, at a glance."),
        Command(
            "msrpgw:list_sessions",
            commands.sessions,
            "List sessions, a page at a time.",
            (_LIMIT, _AFTER, *filters),
        ),
        Command(
            "msrpgw:show_session", commands.show_session, "Everything about a session.", (_KEY,)
        ),
        Command(
            "msrpgw:end_session",
            commands.end_session_in_words,
            "End a session, and say what became of its messages.",
            (_KEY,),
        ),
        Command(
            "msrpgw:send_message",
            commands.send_message,
            "Send a text to an MSRP user, as a page user would.",
            (
                _FROM,
                _TO,
                _string("text", "the text"),
                _string("content_type", "default text/plain", optional=True),
            ),
        ),
        Command(
            "msrpgw:journal_list",
            commands.journal_list,
            "Messages in our custody.",
            (_LIMIT, Parameter("after", int, "the last number of the answer before", True)),
        ),
        Command("msrpgw:journal_retry", commands.journal_retry, "Try a message again now.", (_ID,)),
        Command(
            "msrpgw:journal_drop",
            commands.journal_drop,
            "Give a message up; its sender is told.",
            (_ID,),
        ),
        Command(
            "msrpgw:message_fate",
            commands.message_fate,
            "What became of a message.",
            (_string("id", "Message-ID or Call-ID"),),
        ),
        Command("msrpgw:drain", commands.drain, "Take nothing new, as before a stop."),
        Command("msrpgw:reload", commands.reload, "Read the configuration again."),
        Command(
            "msrpgw:check_config",
            commands.check_config,
            "Say what is wrong with a configuration file.",
            (_string("file", "path on the gateway's host", optional=True),),
        ),
    ]
