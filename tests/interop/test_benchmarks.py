"""The benchmarks in short: the driver against the floor and the gateway, and the soak."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.driving import BenchError, Outcome, speaks_tls
from benchmarks.hot_path import hot_path, load_of
from benchmarks.subjects import Room, Setting, kamailio, room, running
from benchmarks.sustained import LIMIT_MS

ROOT = Path(__file__).resolve().parent.parent.parent


class DriverCase(SynchronousTestCase):
    """With a room to measure in."""

    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        skip = "there is no C compiler"

    def room(self) -> Room:
        """For this test."""
        manager = room()
        self.addCleanup(manager.__exit__, None, None, None)
        return manager.__enter__()

    def assertWell(self, outcome: Outcome, messages: int) -> None:
        """So many messages were measured, and none was harmed."""
        self.assertEqual((outcome.messages, outcome.harmed), (messages, 0))
        self.assertGreater(outcome.cpu_us, 0)
        self.assertGreater(outcome.driver_us, 0)


class FloorTests(DriverCase):
    """The driver and the floor."""

    def test_every_load(self) -> None:
        place = self.room()
        secure = [Setting("tls", msrps=True)] if speaks_tls() else []
        for setting in (Setting("udp"), Setting("tcp"), *secure):
            with running("floor", place, setting) as floor:
                floor.driver.open(10)
                for way in ("page2msrp", "msrp2page", "both"):
                    self.assertWell(floor.driver.flow(way=way, messages=300, warmup=100), 200)

    def test_late_messages_were_due_before(self) -> None:
        """What could not be sent in time has waited, too: no coordinated omission."""
        with running("floor", self.room()) as floor:
            floor.driver.open(10)

            def pause() -> None:
                time.sleep(0.4)
                os.kill(floor.driver.pid, signal.SIGSTOP)
                # On a busy machine it may be a while until it has stopped.
                os.waitid(os.P_PID, floor.driver.pid, os.WSTOPPED)
                time.sleep(0.3)
                os.kill(floor.driver.pid, signal.SIGCONT)

            pausing = threading.Thread(target=pause)
            pausing.start()
            run = floor.driver.flow(way="msrp2page", rate=200, messages=300, warmup=1)
            pausing.join()
        self.assertGreater(run.held_ms, 250)
        # 60 of 300 were due meanwhile, evenly: the p90 waited about half of the pause.
        self.assertGreater(run.p90_ms, 80)
        self.assertGreater(run.max_ms, 250)
        self.assertEqual(sum(each.due for each in run.slices), 300)
        self.assertEqual(sum(each.delivered for each in run.slices), 300)
        self.assertGreater(max(each.p99_ms for each in run.slices), LIMIT_MS)

    def test_what_went_wrong_is_said(self) -> None:
        with running("floor", self.room()) as floor:
            floor.driver.open(1)
            with self.assertRaisesRegex(BenchError, "floor, flow sessions=2.*impossible"):
                floor.driver.flow(sessions=2)


class GatewayTests(DriverCase):
    """The driver and the gateway."""

    def test_hot_path(self) -> None:
        loads = [load_of("page2msrp", 500, 0.5), load_of("msrp2page", 500, 0.5)]
        rows = hot_path(self.room(), 1, loads, sessions=5, with_kamailio=True)
        for row in rows:
            for outcomes in (row.floor, row.gateway, *([row.kamailio] if kamailio() else [])):
                self.assertWell(outcomes[0], 225)
            self.assertGreater(row.ratio.median, 0.5)

    def test_sessions(self) -> None:
        """Set up from either side, used again after an end, used once, opened by a burst."""
        with running("gateway", self.room()) as gateway:
            driver = gateway.driver
            for way in ("page2msrp", "msrp2page"):
                self.assertEqual(driver.open(20, way)["changed"], 20)
                self.assertWell(driver.flow(way="both", messages=200, warmup=1), 199)
                driver.close()
                self.assertWell(driver.cycle(way=way, messages=60, warmup=10), 50)
            self.assertWell(driver.flow(messages=200, warmup=1, window=50, each=50), 199)
            told = gateway.statistics()
        self.assertEqual((told["msrpgw:sessions"], told["msrp:connections"]), (0, 0))
        self.assertEqual(told["msrpgw:setups_established"], 20 + 20 + 60 + 60 + 4)
        self.assertEqual(told["msrpgw:to_msrp_delivered"], 20 + 100 + 100 + 60 + 200)

    def test_sessions_that_arrive(self) -> None:
        """So many a second; those that are refused are counted and harm no others."""
        place = self.room()
        load = {"messages": 60, "warmup": 10, "rate": 200, "drain": 2}
        for way in ("page2msrp", "msrp2page"):
            with running("gateway", place) as gateway:
                run = gateway.driver.cycle(way=way, **load)
                self.assertWell(run, 50)
                self.assertGreater(run.p50_ms, 0)
                self.assertLess(run.waited, 1)
            full = Setting(configuration="[gateway]\nmax_sessions = 5\n")
            with running("gateway", place, full) as gateway:
                gateway.driver.open(5)
                run = gateway.driver.cycle(way=way, **load)
                self.assertEqual((run.refused, run.harmed), (60, 60))

    def test_large_and_secure(self) -> None:
        transport = "tls" if speaks_tls() else "tcp"
        setting = Setting(transport, speaks_tls(), "[policy]\ncongestion_safe = true\n")
        with running("gateway", self.room(), setting) as gateway:
            gateway.driver.open(5)
            for way in ("page2msrp", "msrp2page"):
                run = gateway.driver.flow(
                    way=way, messages=60, warmup=10, window=5, size=10000, chunk=2048
                )
                self.assertWell(run, 50)

    def test_slow_users(self) -> None:
        with running("gateway", self.room()) as gateway:
            gateway.driver.open(10)
            run = gateway.driver.flow(messages=100, warmup=1, rate=200, slow=500)
        self.assertWell(run, 99)
        self.assertEqual(run.accepted_later, 100)

    def test_refusals_are_counted(self) -> None:
        setting = Setting(configuration="[gateway]\nqueue_limit = 1\n")
        with running("gateway", self.room(), setting) as gateway:
            gateway.driver.open(1)
            many = {"messages": 100, "warmup": 1, "rate": 10000, "slow": 100}
            run = gateway.driver.flow(**many, drain=2)
            self.assertGreater(run.refused, 0)
            self.assertEqual((run.lost, run.contradicted), (0, 0))
            with self.assertRaisesRegex(BenchError, "was refused with"):
                gateway.driver.flow(**many)


class SoakTests(DriverCase):
    """``make soak`` in short."""

    def test_compressed(self) -> None:
        """Memory is flat, and nothing is left when the load stops."""
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.soak", "--compressed"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("MISSED", done.stdout)
