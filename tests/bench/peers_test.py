"""scripts/peers: its rules, and the script from end to end on stand-ins for both programs.

usage: peers_test.py ROOT
"""

import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import types
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1)).resolve()
SCRIPT = ROOT / "scripts/peers"


loader = importlib.machinery.SourceFileLoader("peers", str(SCRIPT))
peers = importlib.util.module_from_spec(importlib.util.spec_from_loader("peers", loader))
loader.exec_module(peers)


class Rules(unittest.TestCase):
    def test_median_of_ratios_is_taken_in_each_round(self):
        row = {"name": "r", "goal": 2.0}
        ours, theirs = [(1, 10), (2, 10), (4, 30)], {"a": [(9, 1), (9, 1), (9, 1)], "b": [(3, 40), (4, 40), (10, 60)]}
        out = peers.summarise(row, ours, theirs, {"a": 1, "b": 2, "c": 3})
        self.assertEqual(out["torch"], "b")
        self.assertEqual((out["ratio"], out["least"], out["most"]), (2.5, 2, 3))
        self.assertEqual((out["ours_milliseconds"], out["torch_milliseconds"]), (2, 4))
        self.assertAlmostEqual(out["noise"], 0.2)
        self.assertEqual(out["memory_ratio"], 10 / 40)
        self.assertNotIn("memory_ratio", peers.summarise(row, [(1, None)], {"t": [(3, None)]}, {"t": 1}))

    def test_a_ratio_falls_when_noise_does_not_explain_it(self):
        def row(name, ratio, noise):
            return {"name": name, "ratio": ratio, "noise": noise}

        committed = {"rows": [row("quiet", 2.0, 0.01), row("noisy", 2.0, 0.15), row("wild", 2.0, 0.9)]}
        verdict = lambda *rows: [name for name, _, _ in peers.verdicts(committed, rows)]
        self.assertEqual(verdict(row("quiet", 1.71, 0), row("noisy", 1.41, 0), row("wild", 1.01, 0), row("new", 0.1, 0)), [])
        self.assertEqual(verdict(row("quiet", 1.69, 0), row("noisy", 1.39, 0), row("wild", 0.99, 0)), ["quiet", "noisy", "wild"])

    def test_other_processes_count_what_is_not_ours(self):
        jiffies, own = iter([100, 300]), iter([5.0, 5.5])
        peers.busy_jiffies, before = lambda: next(jiffies), peers.busy_jiffies
        self.addCleanup(setattr, peers, "busy_jiffies", before)
        clock = iter([0.0, 10.0])
        peers.time, real = types.SimpleNamespace(monotonic=lambda: next(clock)), peers.time
        self.addCleanup(setattr, peers, "time", real)
        result, share = peers.foreign_share(lambda: next(own), lambda: "done")
        self.assertEqual(result, "done")
        self.assertAlmostEqual(share, (200 / os.sysconf("SC_CLK_TCK") - 0.5) / 10 / os.cpu_count())

    def test_waits_for_an_idle_machine(self):
        peers.foreign_share, before = lambda own, work: (None, 0.5), peers.foreign_share
        self.addCleanup(setattr, peers, "foreign_share", before)
        with self.assertRaisesRegex(RuntimeError, "other processes take 50% of the machine"):
            peers.run(types.SimpleNamespace(prefix="", wait=0, foreign=0.1), ["false"])

    def test_reads_every_kind_of_document(self):
        times = {"milliseconds": {"median": 7}}
        for document, memory in (({"kernels": [times]}, None), ({"shapes": [times]}, None), ({"networks": {"plain": times}}, None),
                                 ({**times, "peak_resident_mib": 5}, 5)):
            self.assertEqual(peers.read(document), (times["milliseconds"], memory))

    def test_compiles_only_where_there_is_a_compiler(self):
        o = types.SimpleNamespace(compile=True)
        labels = [v["label"] for v in peers.variants(o, {"a": "1.13.1", "b": "2.15.0"})]
        self.assertEqual(labels, ["1.13.1 nchw", "1.13.1 channels_last", "2.15.0 nchw", "2.15.0 channels_last",
                                  "2.15.0 channels_last compiled"])


class StandIns(unittest.TestCase):
    """The script from end to end, with programs that answer at once."""

    def setUp(self):
        box = tempfile.TemporaryDirectory()
        self.addCleanup(box.cleanup)
        self.box = Path(box.name)
        (self.box / "scripts").mkdir()
        (self.box / "scripts/peers").write_text(SCRIPT.read_text())
        self.results = self.box / "bench/results/cpu-peers.json"
        self.calls = self.box / "calls"
        self.put("ours", 10, "1")

    def put(self, name, ms, version):
        """Answers version to -c, else writes down that it was called and gives ms."""
        file = self.box / name
        answer = json.dumps({"milliseconds": {"median": ms, "least": ms}, "peak_resident_mib": 100 if name == "ours" else 400})
        file.write_text(f'#!/bin/sh\ncase "$*" in *"import torch"*) echo {version}; exit 0;; esac\n'
                        f"echo {name} \"$@\" >>{self.calls}\necho '{answer}'\n")
        file.chmod(0o755)
        return str(file)

    def run_script(self, *arguments):
        return subprocess.run([sys.executable, self.box / "scripts/peers", "--program", self.box / "ours", "--foreign", "9",
                               *arguments], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})

    def test_alternates_and_takes_the_fastest(self):
        slow, fast = self.put("slow", 50, "1.9"), self.put("fast", 30, "2.0")
        done = self.run_script("--python", slow, "--python", fast, "--rows", "step resnet18 none", "--rounds", "3", "--no-compile")
        self.assertEqual(done.returncode, 0, done.stderr)
        calls = [line.split()[0] for line in self.calls.read_text().splitlines()]
        self.assertEqual(calls, ["slow", "slow", "fast", "fast"] + ["ours", "fast", "fast"] * 3)
        document = json.loads(self.results.read_text())
        self.assertEqual(document["torch"], ["1.9", "2.0"])
        row = document["rows"][0]
        self.assertEqual((row["name"], row["ratio"], row["noise"], row["memory_ratio"]), ("step resnet18 none", 3.0, 0, 0.25))
        self.assertNotIn("left_out", row)
        self.assertIn("| step resnet18 none | 10.0 ms | 30.0 ms | 2.0 nchw | **3.00** (3.00-3.00) | 1.7 | 0.25 |", done.stdout)
        for line in self.calls.read_text().splitlines():
            self.assertIn("--threads 2", line)

    def test_other_rows_stay(self):
        fast = self.put("fast", 30, "2.0")
        self.run_script("--python", fast, "--rows", "step resnet18 none", "--rounds", "1", "--no-compile")
        self.put("ours", 15, "1")
        self.run_script("--python", fast, "--rows", "alexnet deepipr-v2 last$", "--rounds", "1", "--no-compile")
        ratios = {row["name"]: row["ratio"] for row in json.loads(self.results.read_text())["rows"]}
        self.assertEqual(ratios, {"step resnet18 none": 3, "step alexnet deepipr-v2 last": 2})

    def test_check(self):
        fast = self.put("fast", 30, "2.0")
        self.run_script("--python", fast, "--rows", "step resnet18 none", "--rounds", "1", "--no-compile")
        before = self.results.read_text()
        self.assertEqual(self.run_script("--check", "--python", fast, "--rows", "step resnet18 none").returncode, 0)
        self.put("ours", 13, "1")
        done = self.run_script("--check", "--python", fast, "--rows", "step resnet18 none")
        self.assertEqual(done.returncode, 1)
        self.assertIn("step resnet18 none: 2.31 times PyTorch's speed; 2.55 is the least", done.stdout)
        self.assertEqual(self.results.read_text(), before)
        done = self.run_script("--check", "--python", self.put("slow", 50, "1.9"))
        self.assertEqual((done.returncode, done.stdout.count("skipped: the committed numbers are of PyTorch 2.0, not 1.9")), (77, 1))
        self.results.write_text(before.replace('"threads": 2', '"threads": 64'))
        done = self.run_script("--check", "--python", fast)
        self.assertEqual((done.returncode, done.stdout.count("skipped")), (77, 1), done.stdout + done.stderr)

    def test_skips_without_torch(self):
        done = self.run_script("--python", "/nowhere/python")
        self.assertEqual(done.returncode, 77)
        self.assertIn("skipped: no interpreter here has torch", done.stdout)

    def test_says_what_failed(self):
        broken = self.put("broken", 30, "2.0")
        Path(broken).write_text(Path(broken).read_text().replace("echo '{", "echo no memory >&2; exit 3; echo '{"))
        done = self.run_script("--python", broken, "--rows", "step resnet18 none", "--no-compile")
        self.assertEqual(done.returncode, 2)
        left_out = {f"2.0 {layout}": "exit 3: no memory" for layout in ("nchw", "channels_last")}
        lines = [f"step resnet18 none: without PyTorch {label}: {why}" for label, why in left_out.items()]
        self.assertEqual(done.stderr.splitlines(), [*lines, "scripts/peers: step resnet18 none: no PyTorch ran"])
        done = self.run_script("--python", broken, "--python", self.put("fast", 30, "2.1"), "--rows", "step resnet18 none", "--rounds", "1",
                               "--no-compile")
        self.assertEqual((done.returncode, done.stderr.splitlines()[:2]), (0, lines))
        self.assertEqual(json.loads(self.results.read_text())["rows"][0]["left_out"], left_out)


if __name__ == "__main__":
    unittest.main()
