"""The committed numbers of scripts/peers are whole, and README shows them.

usage: committed_test.py ROOT
"""

import importlib.machinery
import importlib.util
import json
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1)).resolve()
SCRIPT = ROOT / "scripts/peers"
loader = importlib.machinery.SourceFileLoader("peers", str(SCRIPT))
peers = importlib.util.module_from_spec(importlib.util.spec_from_loader("peers", loader))
loader.exec_module(peers)


class Committed(unittest.TestCase):
    """bench/results/cpu-peers.json"""

    def setUp(self):
        self.document = json.loads((ROOT / "bench/results/cpu-peers.json").read_text())
        self.rows = {row["name"]: row for row in self.document["rows"]}

    def test_names_machine_and_versions(self):
        self.assertEqual(self.document["format"], "passnorm.peers/1")
        self.assertEqual(set(self.document["machine"]), {"cpu", "cores", "threads"})
        self.assertTrue(self.document["torch"])
        for row in self.document["rows"]:
            self.assertRegex(row["date"], r"^20\d\d-\d\d-\d\d$")
            self.assertRegex(row["commit"], r"^[0-9a-f]{7,40}$")

    def test_has_every_goal(self):
        goals = {"step resnet18 none": 1.7, "step resnet18 deepipr-v2 last": 3.0, "step resnet18 pan all": 1.8,
                 "step alexnet deepipr-v2 last": 2.5, "norm 64x64x32x32": 3.0, "norm 64x128x16x16": 3.0, "norm 64x256x8x8": 3.0,
                 "norm 64x512x4x4": 3.0}
        self.assertEqual({name: row["goal"] for name, row in self.rows.items() if row["goal"]}, goals)
        self.assertEqual(list(self.rows), [row["name"] for row in peers.ROWS])

    def test_numbers_belong_together(self):
        for row in self.document["rows"]:
            with self.subTest(row["name"]):
                self.assertTrue(row["least"] <= row["ratio"] <= row["most"])
                self.assertAlmostEqual(row["noise"], (row["most"] - row["least"]) / 2 / row["ratio"])
                self.assertAlmostEqual(row["ratio"] / (row["torch_milliseconds"] / row["ours_milliseconds"]), 1, delta=0.25)
                finalists = row["finalists_milliseconds"]
                self.assertEqual(row["torch"], min(finalists, key=finalists.get))
                self.assertLessEqual(set(finalists), set(row["trial_milliseconds"]))
                self.assertGreaterEqual(row["rounds"], 3)
                self.assertEqual("memory_ratio" in row, row["name"].startswith("step"))

    def test_readme_shows_them(self):
        table = subprocess.run([sys.executable, SCRIPT, "--table"], capture_output=True, text=True, check=True).stdout
        self.assertTrue(table in (ROOT / "README.md").read_text(), "README.md: replace its table by the output of scripts/peers --table")


if __name__ == "__main__":
    unittest.main()
