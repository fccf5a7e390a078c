"""The tables of statuses, and the document that shows them."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.gateway.status import (
    MSRP_TO_SIP,
    PASSED_ON,
    SIP_CLASS_TO_MSRP,
    SIP_TO_MSRP,
    msrp_to_sip,
    setup_to_sip,
    sip_to_msrp,
)
from msrpgw.sip.message import REASONS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "status-mapping.md"

#: RFC 4975 §10 and nothing else; 423 is never sent (§10.7)
MSRP_STATUSES = {200, 400, 403, 408, 413, 415, 481, 501, 506}


class SipToMsrpTests(SynchronousTestCase):
    """The status of a REPORT."""

    def test_every_final_status_has_one(self) -> None:
        for status in range(200, 700):
            self.assertIn(sip_to_msrp(status), MSRP_STATUSES)

    def test_only_success_is_success(self) -> None:
        successes = [status for status in range(200, 700) if sip_to_msrp(status) == 200]
        self.assertEqual(successes, list(range(200, 300)))

    def test_the_session_is_never_blamed(self) -> None:
        # RFC 4975 §10.8, §10.10: who gets 481 or 506 gives up the session.
        told = {sip_to_msrp(status) for status in range(200, 700)}
        self.assertFalse(told & {481, 506})

    def test_examples(self) -> None:
        for sip, msrp in (
            (202, 200),
            (302, 403),
            (404, 403),
            (408, 408),
            (415, 415),
            (480, 408),
            (481, 403),
            (486, 408),
            (488, 415),
            (503, 408),
            (513, 413),
            (580, 408),
            (603, 403),
            (699, 403),
        ):
            self.assertEqual(sip_to_msrp(sip), msrp, sip)

    def test_beyond_sip(self) -> None:
        self.assertEqual(sip_to_msrp(0), 408)
        self.assertEqual(sip_to_msrp(777), 408)


class MsrpToSipTests(SynchronousTestCase):
    """The final response to a MESSAGE."""

    def test_no_408(self) -> None:
        # RFC 4320 §4.2.
        for status in range(1000):
            self.assertNotEqual(msrp_to_sip(status)[0], 408)

    def test_never_a_success_or_provisional(self) -> None:
        for status in set(range(1000)) - {200}:
            self.assertGreaterEqual(msrp_to_sip(status)[0], 400)

    def test_no_503(self) -> None:
        # A proxy that gets 503 sends us nothing at all for a while.
        for status in range(1000):
            self.assertNotEqual(msrp_to_sip(status)[0], 503)

    def test_statuses_that_sip_knows(self) -> None:
        for status, _ in MSRP_TO_SIP.values():
            self.assertIn(status, REASONS)

    def test_examples(self) -> None:
        self.assertEqual(msrp_to_sip(0), (480, "MSRP session lost"))
        self.assertEqual(msrp_to_sip(408)[0], 504)
        self.assertEqual(msrp_to_sip(413)[0], 413)
        self.assertEqual(msrp_to_sip(415), (415, "Unsupported Media Type"))
        self.assertEqual(msrp_to_sip(481)[0], 480)
        self.assertEqual(msrp_to_sip(499), (500, "MSRP status 499"))


class SetupTests(SynchronousTestCase):
    """The final response to a MESSAGE whose call failed."""

    def test_never_misleading(self) -> None:
        # 408: RFC 4320 §4.2; 401, 407: not the sender's to answer; 503: not the whole gateway.
        for status in range(300, 700):
            answered, _ = setup_to_sip(status)
            self.assertGreaterEqual(answered, 400)
            self.assertNotIn(answered, (401, 407, 408, 503))

    def test_passed_on(self) -> None:
        for status in (404, 486, 488, 600, 603, 699):
            self.assertEqual(setup_to_sip(status)[0], status)
        for status in (302, 401, 408, 480, 481, 500, 503, 504):
            self.assertEqual(
                setup_to_sip(status), (480, f"No session with the MSRP user: {status}")
            )


class DocumentTests(SynchronousTestCase):
    """``docs/status-mapping.md`` has the same tables."""

    def setUp(self) -> None:
        self.text = DOCUMENT.read_text("utf-8")

    def rows(self, title: str) -> list[tuple[str, str]]:
        """The first two columns of the table in a section."""
        section = self.text.split(f"\n## {title}\n")[1].split("\n## ")[0]
        rows = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", section, re.MULTILINE)
        return [row for row in rows if row[0] != "---"][1:]

    def test_sip_to_msrp(self) -> None:
        expected = {f"{sip}": f"{msrp}" for sip, msrp in SIP_TO_MSRP.items()}
        classes = {sip // 100 for sip in SIP_TO_MSRP}
        for number, msrp in SIP_CLASS_TO_MSRP.items():
            expected[f"{'other ' if number in classes else ''}{number}xx"] = f"{msrp}"
        rows = self.rows("SIP to MSRP")
        self.assertEqual(dict(rows), expected)
        self.assertEqual(len(rows), len(expected))

    def test_calls(self) -> None:
        expected = {f"{status}": f"{status} {reason}" for status, reason in PASSED_ON.items()}
        expected["6xx"] = f"6xx {setup_to_sip(603)[1]}"
        expected["others"] = "{} {}".format(*setup_to_sip(500))
        self.assertEqual(dict(self.rows("A call that failed")), expected)

    def test_msrp_to_sip(self) -> None:
        expected = {
            f"{msrp or 'none'}": f"{status} {reason}"
            for msrp, (status, reason) in MSRP_TO_SIP.items()
        }
        expected["200"] = "200 OK"
        expected["others"] = "{} {}".format(*msrp_to_sip(499))
        rows = self.rows("MSRP to SIP")
        self.assertEqual(dict(rows), expected)
        self.assertEqual(len(rows), len(expected))
