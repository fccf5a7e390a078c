"""The gateway, killed by its own hand right before or right after one of its commits.

    python -m tests.interop.crashing_gateway WHEN RECORD [options of twistd]

WHEN is ``before:N`` or ``after:N``, the N-th commit of this process, or ``never``.  RECORD is a
file that is appended to, a line for each thing as it happens, over all starts:

    start WHEN
    committed TEXT          a commit that holds the message returned: it is on disk
    delivered TEXT          the receiver's own positive answer came
    answered TEXT STATUS    a positive answer is about to go to the sender

TEXT is the message itself: the load's texts have no spaces, and no two are the same.  The record
is made outside of the gateway's code, around what it calls, so that ``faults_of`` can judge it.
"""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

#: what the users of the load say: conversation, direction, number
TEXT = re.compile(rb"\d+/(?:page|msrp)/\d+")


class Record:
    """The file, for the threads of one process."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *words: object) -> None:
        """Append one line, in one go."""
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


def faults_of(lines: Iterable[str]) -> list[str]:
    """Positive answers that rest on nothing: recorded before any commit or delivery.

    A 202 says that the journal has it; a 200 that the receiver has it, or the journal.
    """
    faults = []
    for text, status, committed, delivered in _answers(lines):
        if status == "202" and not committed:
            faults.append(f"{text} was answered 202 before it was on disk")
        elif not (committed or delivered):
            faults.append(f"{text} was answered {status} before it was anywhere")
    return faults


def summary_of(lines: Sequence[str]) -> str:
    """The counts."""
    answers = list(_answers(lines))
    accepted = sum(status == "202" for _, status, _, _ in answers)
    journaled = sum(status == "200" and not delivered for _, status, _, delivered in answers)
    commits = len({line for line in lines if line.startswith("committed")})
    return (
        f"record: {commits} messages were committed; {len(answers)} positive answers, of them"
        f" {accepted} 202, and {journaled} 200 that rest on the journal"
    )


def _answers(lines: Iterable[str]) -> Iterator[tuple[str, str, bool, bool]]:
    """Text and status of each positive answer, and whether the message was on disk, and whether
    it was delivered, before."""
    committed: set[str] = set()
    delivered: set[str] = set()
    for line in lines:
        what, text, *rest = line.split()
        if what == "committed":
            committed.add(text)
        elif what == "delivered":
            delivered.add(text)
        elif what == "answered":
            yield text, rest[0], text in committed, text in delivered


def _texts(changes: Sequence[tuple[str, Sequence[Any]]]) -> Iterable[str]:
    """The texts that a commit holds, whatever its columns are."""
    for _, values in changes:
        for value in values:
            if isinstance(value, bytes) and TEXT.fullmatch(value):
                yield value.decode()


def watch_commits(when: str, record: Record) -> None:
    """Record each commit, and die at the one that ``when`` tells."""
    from msrpgw.journal.store import Store

    side, _, number = when.partition(":")
    fatal = int(number or 0)
    commits = 0
    write = Store.write

    def watched(store: Store, changes: Sequence[Any]) -> None:
        nonlocal commits
        commits += 1
        if side == "before" and commits == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        write(store, changes)
        for text in _texts(changes):
            record.write("committed", text)
        if side == "after" and commits == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    Store.write = watched


def watch_answers(record: Record) -> None:
    """Record positive answers to senders, before they are written."""
    from msrpgw.msrp.incoming import Incoming
    from msrpgw.sip.agent import UserAgent

    respond, accept = UserAgent.respond, Incoming.accept

    def responding(agent: UserAgent, transaction: Any, status: int, *rest: Any, **more: Any) -> Any:
        body = transaction.request.body
        if 200 <= status < 300 and TEXT.fullmatch(body):
            record.write("answered", body.decode(), status)
        return respond(agent, transaction, status, *rest, **more)

    def accepting(incoming: Incoming) -> None:
        if TEXT.fullmatch(incoming.body) and not incoming._answered:
            record.write("answered", incoming.body.decode(), 200)
        accept(incoming)

    UserAgent.respond, Incoming.accept = responding, accepting


def watch_deliveries(record: Record) -> None:
    """Record positive answers of receivers, as they come in."""
    from msrpgw.msrp.session import Session
    from msrpgw.sip.agent import UserAgent

    request, send = UserAgent.request, Session.send

    def noting(body: bytes, told: Callable[[Any], None]) -> Callable[[Any], None]:
        def note(answer: Any) -> None:
            if 200 <= answer.status < 300:
                record.write("delivered", body.decode())
            told(answer)

        return note if TEXT.fullmatch(body) else told

    def requesting(agent: UserAgent, message: Any, on_response: Any, **more: Any) -> Any:
        return request(agent, message, noting(message.body, on_response), **more)

    def sending(
        session: Session, id: str, content_type: str, body: bytes, on_done: Any, **more: Any
    ) -> None:
        send(session, id, content_type, body, noting(body, on_done), **more)

    UserAgent.request, Session.send = requesting, sending


def main() -> None:
    """Run twistd under observation."""
    _, when, path, *options = sys.argv
    record = Record(path)
    record.write("start", when)
    watch_commits(when, record)
    watch_answers(record)
    watch_deliveries(record)

    from twisted.scripts.twistd import run

    sys.argv = ["twistd", *options]
    run()


if __name__ == "__main__":
    main()
