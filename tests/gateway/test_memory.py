"""What an idle session keeps: there may be ten thousand of them."""

import enum
import gc
import sys
import types
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.gateway.custody import Custody
from msrpgw.gateway.gateway import Gateway
from msrpgw.gateway.session import GatewaySession, Room
from msrpgw.gateway.settings import GatewaySettings
from msrpgw.msrp.chunks import Budget
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.frame import Limits
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.settings import SipSettings
from msrpgw.timers import Timers
from tests.gateway.support import Town
from tests.support import CountingRandom

#: what all sessions share
SHARED = (
    *(Gateway, UserAgent, Endpoint, Custody, Timers, SipSettings, enum.Enum),
    *(GatewaySettings, MsrpSettings, Limits, Room, Budget, CountingRandom, int, float),
    *(type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType),
)


def kept(session: GatewaySession, transports: tuple[type, ...]) -> Iterator[object]:
    """All objects that a session keeps, and nobody else needs."""
    seen = set()
    waiting: list[object] = [session]
    while waiting:
        each = waiting.pop()
        if id(each) not in seen and not isinstance(each, (*SHARED, *transports)):
            seen.add(id(each))
            yield each
            waiting.extend(gc.get_referents(each))


class MemoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.town = Town()
        self.alice = self.town.page_user("alice", "10.0.0.1")
        self.bob = self.town.msrp_user("bob", "10.0.0.2")

    def idle(self) -> list[object]:
        self.town.run(40)
        (session,) = self.town.gateway.sessions.values()
        connection = session.leg._media.connection
        assert connection is not None
        return list(kept(session, (type(connection.transport),)))

    def check(self) -> None:
        objects = self.idle()
        # 7.3 kB and 6.2 kB when this was written; without the care taken it was twice as much.
        self.assertLess(sum(map(sys.getsizeof, objects)), 8_000)
        ours = [each for each in objects if type(each).__module__.startswith("msrpgw.")]
        growing = {type(each).__name__ for each in ours if hasattr(each, "__dict__")}
        self.assertEqual(growing, {"Connection", "FrameParser"})

    def test_called(self) -> None:
        """A MESSAGE began it."""
        self.alice.send(self.bob.uri, "hello")
        self.check()

    def test_calling(self) -> None:
        """The MSRP user called."""
        self.bob.send(self.alice.uri, "hello")
        self.check()
