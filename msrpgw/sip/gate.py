"""Whether a request from a source that is not trusted is let in, and what it is told if not.

Nothing is remembered of those who are not (RFC 3261 §8.2.7): answers need no transaction.
"""

import hashlib
from collections.abc import Callable

from msrpgw.auth.server import Authenticator, Demand, User
from msrpgw.complaints import Complaints
from msrpgw.errors import RenderError, SipError
from msrpgw.sip.counters import SipCounters
from msrpgw.sip.fields import parse_name_addrs
from msrpgw.sip.message import Request
from msrpgw.sip.transaction import ReplyPath, Transactions
from msrpgw.sip.uri import SipUri, Uri, parse_uri

#: how many times as much as a datagram brought goes back to a source that has proven nothing
_AMPLIFICATION = 3


class Stateless:
    """Answers without a transaction.  One for a user agent."""

    def __init__(self, server: str, random: Callable[[int], bytes], complaints: Complaints) -> None:
        """``server``: value of the Server header."""
        self._server = ("Server", server)
        self._secret = random(16)  # for tags
        self._complaints = complaints

    def __call__(
        self,
        request: Request,
        source: ReplyPath,
        status: int,
        reason: str | None = None,
        *headers: tuple[str, str],
    ) -> None:
        """Answer a request; an ACK gets none."""
        if request.method == "ACK":
            return
        via = request.via
        seed = f"{via.branch}\n{request.headers.get('Call-ID')}".encode("utf-8", "surrogateescape")
        tag = hashlib.blake2b(seed, digest_size=8, key=self._secret).hexdigest()
        response = request.response(status, reason, to_tag=tag, headers=(self._server, *headers))
        try:
            source.send_response(response.render(), via)
        except RenderError:
            self._complaints.add("unanswerable SIP request", source.host, request.method)


class Gate:
    """Before a user agent.  Who has a trusted source never comes to it."""

    def __init__(
        self,
        transactions: Transactions,
        answer: Stateless,
        counters: SipCounters,
        complaints: Complaints,
    ) -> None:
        self._transactions = transactions
        self._answer = answer
        self._counters = counters
        self._complaints = complaints
        #: who knows our users; None: nobody from elsewhere is let in
        self.authenticator: Authenticator | None = None
        #: names that a certificate makes as good as a trusted source
        self.trusted_names: frozenset[str] = frozenset()

    def admits(self, request: Request, source: ReplyPath) -> bool:
        """Whether a request may come in; if not, it was answered."""
        if self.trusted_names and not self.trusted_names.isdisjoint(source.names):
            return True
        authenticator = self.authenticator
        if authenticator is None:
            self.refuse(request, source)
            return False
        if request.method in ("ACK", "CANCEL") or self._transactions.knows(request):
            return True  # §22.1: they can't be asked; whom they belong to was
        found = authenticator.check(request.method, request.headers.get_all("Authorization"))
        if isinstance(found, Demand):
            self._demand(request, source, found)
            return False
        problem = _find_pretence(request, found)
        if problem:
            self._counters.refused_identities += 1
            self._complaints.add(f"SIP request refused: {problem}", source.host, repr(found.name))
            self._answer(request, source, 403, problem)
            return False
        self._counters.authenticated += 1
        request.identity = found.name
        return True

    def refuse(self, request: Request, source: ReplyPath) -> None:
        """Refuse a request for where it came from."""
        self._counters.refused_sources += 1
        self._complaints.add(
            "SIP request refused: its source is not in trusted_sources,",
            source.host,
            request.method,
        )
        self._answer(request, source, 403)

    def _demand(self, request: Request, source: ReplyPath, demand: Demand) -> None:
        self._counters.challenged += 1
        if demand.problem:
            self._counters.refused_credentials += 1
            self._complaints.add("SIP request with bad credentials", source.host, demand.problem)
        headers = [("WWW-Authenticate", value) for value in demand.challenges]
        if not source.reliable:
            room = _AMPLIFICATION * len(request.render()) - _answer_size(request)
            while headers and sum(len(value) + 20 for _, value in headers) > room:
                headers.pop()
            if not headers:
                return  # what is so short is no request of a user's
        self._answer(request, source, 401, None, *headers)


def _answer_size(request: Request) -> int:
    """Bytes of a 401 without its challenges, at most."""
    return len(request.response(401, to_tag="0" * 16).render()) + 200


def _find_pretence(request: Request, user: User) -> str:
    """What a user says that he is and is not; "" for nothing.  Inside a dialog its tags tell."""
    allowed = {_record(parse_uri(uri)) for uri in user.uris}
    if request.to.tag is None and _record(request.from_.uri) not in allowed:
        return "From is not the authenticated user"
    for value in request.headers.get_all("P-Asserted-Identity"):
        try:
            asserted = parse_name_addrs(value, "P-Asserted-Identity")
        except SipError:
            return "P-Asserted-Identity can't be read"
        if any(_record(each.uri) not in allowed for each in asserted):
            return "P-Asserted-Identity is not the authenticated user"
    return ""


def _record(uri: Uri) -> str:
    """An address of record, to be compared: RFC 3261 §10.3 step 5."""
    if not isinstance(uri, SipUri):
        return uri.canonical()
    return parse_uri(f"sip:{uri.user or ''}@{uri.host}").canonical()
