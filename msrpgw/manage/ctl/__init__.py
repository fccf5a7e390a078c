"""``msrpgw-ctl``: the operator's command, which speaks to a running gateway.

A synchronous program with the standard library's HTTP client: no reactor, no room but this one.
"""

from msrpgw.manage.ctl.run import main

__all__ = ["main"]
