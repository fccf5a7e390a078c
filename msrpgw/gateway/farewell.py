"""BYE to the calls of an earlier process: their MSRP sessions ended with it."""

from collections.abc import Iterable
from functools import partial

from twisted.logger import Logger

from msrpgw.errors import MsrpgwError
from msrpgw.interfaces import IJournal
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.dialog import revived
from msrpgw.sip.message import Response
from msrpgw.timers import Timers
from msrpgw.types import JournalDialog

_log = Logger()

#: seconds between the BYEs: there may be thousands
_INTERVAL = 0.002


def end_calls(
    agent: UserAgent, timers: Timers, journal: IJournal, dialogs: Iterable[JournalDialog]
) -> None:
    """Send BYE in each dialog, one after the other; those with an answer leave the journal."""
    for index, dialog in enumerate(dialogs):
        timers.call_later(index * _INTERVAL, partial(_end_call, agent, journal, dialog))


def _end_call(agent: UserAgent, journal: IJournal, dialog: JournalDialog) -> None:
    def answered(response: Response) -> None:
        if response.status >= 200:
            journal.end_dialog(dialog.call_id)

    try:
        agent.request(revived(dialog).request("BYE"), answered)
    except MsrpgwError as error:
        _log.warn("no BYE for the call {id!r}: {error}", id=dialog.call_id, error=str(error))
        journal.end_dialog(dialog.call_id)
