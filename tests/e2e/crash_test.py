"""A short run of crash_driver.py."""
import os
import unittest

from crash_driver import KINDS, drive


class Crashes(unittest.TestCase):
    def test_nothing_acknowledged_is_lost_and_nothing_deleted_comes_back(self):
        kills = int(os.environ.get("MSA_KILLS", "100"))
        driver = drive(kills, seed=int(os.environ.get("MSA_SEED", "7")))
        print(driver.summary())
        self.assertEqual(driver.violations, [])
        for kind in KINDS:
            self.assertGreaterEqual(driver.in_flight.cut_off[kind], kills // 10, kind)


if __name__ == "__main__":
    unittest.main()
