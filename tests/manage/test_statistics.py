"""Numbers by OpenSIPS's names."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.manage.statistics import Number, Statistics


class StatisticsTests(SynchronousTestCase):
    """Two groups."""

    def setUp(self) -> None:
        self.values = {"a:x": 5, "a:y": 6, "b:z": 7}
        self.statistics = Statistics(
            {
                "a:x": Number("counter", lambda: self.values["a:x"]),
                "a:y": Number("gauge", lambda: self.values["a:y"]),
                "b:z": Number("counter", lambda: self.values["b:z"]),
            }
        )

    def test_get(self) -> None:
        for names, expected in (
            (["a:x"], {"a:x": 5}),
            (["x"], {"a:x": 5}),
            (["a:"], {"a:x": 5, "a:y": 6}),
            (["all"], {"a:x": 5, "a:y": 6, "b:z": 7}),
            (["b:z", "a:x", "x"], {"b:z": 7, "a:x": 5}),
            ([], {}),
        ):
            self.assertEqual(self.statistics.get(names), expected)
        for name in ("c:", "w", "a:z", ""):
            with self.assertRaises(KeyError) as caught:
                self.statistics.get([name])
            self.assertEqual(caught.exception.args, (name,))

    def test_names(self) -> None:
        self.assertEqual(
            self.statistics.names(), [("a:x", "counter"), ("a:y", "gauge"), ("b:z", "counter")]
        )

    def test_reset(self) -> None:
        """Counters begin anew; of a group, what is no counter stays as it is."""
        self.statistics.reset(["a:"])
        self.values["a:x"] = 8
        self.assertEqual(self.statistics.get(["all"]), {"a:x": 3, "a:y": 6, "b:z": 7})
        with self.assertRaisesRegex(ValueError, "a:y is no counter"):
            self.statistics.reset(["b:z", "a:y"])
        self.assertEqual(self.statistics.get(["b:z"]), {"b:z": 7})
        self.assertRaises(KeyError, self.statistics.reset, ["nothing"])
