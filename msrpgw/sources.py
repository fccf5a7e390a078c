"""Who may talk to us: the table ``[security]`` of the configuration file.

Imports nothing of msrpgw.
"""

import functools
import ipaddress

import msgspec

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class SecuritySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of who may send us anything at all."""

    #: addresses and networks whose requests are taken; loopback always is.
    #: Requests from elsewhere get 403
    trusted_sources: tuple[str, ...] = ()
    #: take requests from anywhere; whoever reaches the port can send messages through us
    open: bool = False
    #: SIP domains whose certificate, vouched for by a CA of ``[tls]``, is as good as a trusted
    #: source: of a proxy in front of us
    trusted_names: tuple[str, ...] = ()


def parse_source(text: str) -> IpNetwork:
    """Read an address or a network in CIDR notation.  Raises ValueError saying what is wrong."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        try:
            network = ipaddress.ip_interface(text).network
        except ValueError:
            raise ValueError(f"{text!r} is no IP address and no network") from error
        raise ValueError(f"{text!r} has host bits set; did you mean {str(network)!r}?") from error


def parse_address(text: str) -> IpAddress:
    """Read an IP address as a socket gives it: zone dropped, IPv4 in IPv6 unpacked.

    Raises ValueError when it is none.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class TrustedSources:
    """Says whether requests from an IP address are taken.

    One for the whole program, asked for every request and connection: verdicts are kept in a
    bounded cache.  Raises ValueError at once for a source that can't be read.
    """

    def __init__(self, settings: SecuritySettings, cache_size: int = 4096) -> None:
        self._listed = functools.lru_cache(maxsize=cache_size)(self._decide)
        self.configure(settings)

    def configure(self, settings: SecuritySettings) -> None:
        """Trust these from now on.  Raises ValueError, and goes on as before."""
        self._networks = tuple(map(parse_source, settings.trusted_sources))
        self._open = settings.open
        self._listed.cache_clear()

    def listed(self, ip: str) -> bool:
        """Whether ``ip`` is loopback or among the trusted ones, and not only let in by ``open``."""
        return self._listed(ip)

    def __call__(self, ip: str) -> bool:
        """Whether ``ip``, the text that a socket gave, may talk to us."""
        return self._open or self._listed(ip)

    def _decide(self, ip: str) -> bool:
        try:
            address = parse_address(ip)
        except ValueError:
            return False
        return address.is_loopback or any(address in network for network in self._networks)
