"""What the tests of a session share."""

from twisted.trial.unittest import SynchronousTestCase

from tests.msrp.support import Listener, Rig


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
