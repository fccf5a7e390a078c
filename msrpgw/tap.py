"""The ``twistd msrpgw`` command: its options, and the service made from them.

With ``msrpgw.ua.main`` the only module that imports the reactor.
"""

import os
import signal
import sys
import time
import typing
from collections.abc import Callable, Sequence
from typing import NoReturn

from twisted.application.service import IService, MultiService, Service
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.python.components import Componentized

from msrpgw import __version__
from msrpgw.collector import Collector
from msrpgw.config import Config, Overrides, load
from msrpgw.errors import ConfigError
from msrpgw.log import Threshold, observer_factory
from msrpgw.memory import keep_large_blocks_apart

if typing.TYPE_CHECKING:
    from msrpgw.service import GatewayService


class Options(usage.Options):
    """Command line of ``twistd msrpgw``.  After parsing, ``config`` holds the configuration."""

    synopsis = "[options]"
    longdesc = (
        "Gateway between SIP MESSAGE (RFC 3428) and MSRP sessions (RFC 4975)."
        " Without --config it runs on defaults, on loopback."
    )
    optParameters = [
        ["config", "c", None, "Configuration file (TOML)."],
        ["msrp", None, None, "Listen for MSRP on ADDRESS:PORT, in place of [msrp] listen."],
        ["mi", None, None, "Take management commands over HTTP on ADDRESS:PORT or unix:PATH."],
        ["state-dir", None, None, "Keep state there, in place of [state] directory."],
        ["log-level", None, None, "Least level to log: debug, info, warn, error or critical."],
    ]
    optFlags = [["check", None, "Check the configuration, say all that is wrong, and exit."]]

    config: Config
    load: Callable[[str | None], Config]  #: reads it again, or another file

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["sip"] = ()

    def opt_sip(self, listener: str) -> None:
        """Listen for SIP on udp:ADDRESS:PORT or tcp:ADDRESS:PORT; more than once for more."""
        self["sip"] += (listener,)

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"msrpgw {__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Load the configuration; exit with every problem on its own line when it is no good."""
        overrides = Overrides(
            sip=self["sip"],
            msrp=self["msrp"],
            manage=self["mi"],
            state_dir=self["state-dir"],
            log_level=self["log-level"],
        )
        # Relative paths are of where the command was typed; a daemon goes elsewhere.
        path = self["config"] and os.path.abspath(self["config"])

        def load_again(file: str | None) -> Config:
            return load(file or path, overrides)

        self.load = load_again
        try:
            self.config = load(self["config"], overrides)
            if self["check"]:
                _build(self.config, self.load, Threshold(self.config.log.level))
                print(f"{self['config'] or 'defaults'}: OK")
                raise SystemExit(0)
        except ConfigError as error:
            _exit_with(error.problems)


class LoggedService(MultiService):
    """The gateway's service, which brings along the log observer of the application that it is
    put into: twistd knows no other way to a log level."""

    def __init__(self, observer: Callable[[], ILogObserver]) -> None:
        MultiService.__init__(self)
        self._observer = observer

    def setServiceParent(self, parent: Componentized) -> None:
        """Become a part of twistd's application, before it begins to log."""
        parent.setComponent(ILogObserver, self._observer())
        MultiService.setServiceParent(self, parent)


def makeService(options: Options) -> IService:
    """Build the gateway's service from parsed options; nothing listens before it is started."""
    threshold = Threshold(options.config.log.level)
    try:
        gateway = _build(options.config, options.load, threshold)
    except ConfigError as error:
        _exit_with(error.problems)
    _heed_signals(gateway)
    twistd = options.parent
    both = MultiService()
    if twistd is not None and not twistd.get("logger"):
        both = LoggedService(observer_factory(threshold, twistd))
    for service in (gateway, _collector()):
        Service.setServiceParent(service, both)
    keep_large_blocks_apart()
    return both


def _collector() -> Collector:
    from twisted.internet import reactor

    return Collector(IReactorTime(reactor), time.process_time)


def _heed_signals(gateway: "GatewayService") -> None:
    from twisted.internet import reactor

    later = IReactorFromThreads(reactor).callFromThread
    signal.signal(signal.SIGHUP, lambda number, frame: later(gateway.reload))
    signal.signal(signal.SIGUSR1, lambda number, frame: later(gateway.reopen))


def _build(
    config: Config, load: Callable[[str | None], Config], threshold: Threshold
) -> "GatewayService":
    # Not above: twistd imports this module to show its help, and need not load every room.
    from twisted.internet import reactor

    from msrpgw.service import make_service
    from msrpgw.sockets import prompt
    from msrpgw.systemd import Notifier, first_environment, inherited

    return make_service(
        config,
        prompt(reactor, inherited(first_environment())),
        load=load,
        threshold=threshold,
        notifier=Notifier(os.environ),
    )


def _exit_with(problems: Sequence[str]) -> NoReturn:
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    print(f"msrpgw: {count} in the configuration:", file=sys.stderr)
    for problem in problems:
        print(problem, file=sys.stderr)
    raise SystemExit(1)
