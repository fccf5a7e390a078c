"""What the tests of a session share."""

from twisted.trial.unittest import SynchronousTestCase

from tests.msrp.support import Listener, Rig

OFFER_WITHOUT_MSRP = b"v=0\r\no=- 1 1 IN IP4 a\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"


class SessionTestCase(SynchronousTestCase):
    """A session that is up, its peer having connected."""

    settings: dict[str, object] = {}

    def setUp(self) -> None:
        self.rig = Rig(**self.settings)
        self.listener = Listener()
        self.peer = self.rig.accept()
        self.session = self.rig.passive(self.listener, self.peer)

    @property
    def results(self) -> list[tuple[int, bool]]:
        """Status and lost of each message, in the order in which they ended."""
        return [(result.status, result.lost) for _, result in self.listener.results]
