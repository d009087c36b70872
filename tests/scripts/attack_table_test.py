"""Runs scripts/attack_table on a copy with stand-ins for the build and the program.

usage: attack_table_test.py ROOT
"""

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1)).resolve()
# What the program writes. Each line of the log is one call.
PROGRAM = r"""#!/bin/bash
printf '%q ' "$@" >>"{log}"; echo >>"{log}"
[ "$1" = "${{FAIL-}}" ] && exit "${{CODE-1}}"
for ((i = 1; i <= $#; i++)); do [ "${{!i}}" != --out ] || {{ i=$((i + 1)); out=${{!i}}; }}; done
case $1 in
  train) mkdir -p "$out"; echo >"$out/config.toml"; [ -n "${{STOP-}}" ] && exit 75; echo >"$out/model.safetensors" ;;
  verify) echo '{{}}'; exit 9 ;;
  attack) [ "$2" = "${{LEFT-}}" ] && exit 2; mkdir -p "$out"; echo >"$out/attack-$2.json"; echo >"$out/attack-$2.safetensors" ;;
  report) echo page >"$out" ;;
esac
"""
ATTACKS = [line.split() for line in (ROOT / "scripts/recipes/table.attacks").read_text().splitlines() if line and line[0] != "#"]


class AttackTable(unittest.TestCase):
    def setUp(self):
        self.box = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.box)
        self.tree, self.log, self.out = self.box / "tree", self.box / "log", self.box / "out"
        shutil.copytree(ROOT / "scripts", self.tree / "scripts")
        for name, text in (("scripts/build", f'#!/bin/bash\necho "build $*" >>"{self.log}"\n'),
                           ("build/release/passnorm", PROGRAM.format(log=self.log))):
            file = self.tree / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755)
        self.log.touch()

    def table(self, *arguments, **environment):
        self.log.write_text("")
        return subprocess.run([self.tree / "scripts/attack_table", "out", *arguments], capture_output=True, text=True,
                              cwd=self.box, env={"PATH": "/usr/bin:/bin", **environment})

    def calls(self, command):
        return [words for words in map(shlex.split, self.log.read_text().splitlines()) if words[0] == command]

    @staticmethod
    def value(call, option):
        return call[call.index(option) + 1]

    def test_arguments_that_are_wrong_are_refused(self):
        for arguments in (["--models", "lenet"], ["--seeds", "1,x"], ["--fast"], ["--epochs", "many"]):
            with self.subTest(arguments):
                result = self.table(*arguments)
                self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertEqual(self.log.read_text(), "")

    def test_dry_runs_nothing_and_says_how_long_it_takes(self):
        result = self.table("--dry")
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = [shlex.split(line) for line in result.stdout.splitlines()]
        self.assertEqual(lines[0], ["scripts/build", "release", "passnorm_cli"])
        commands = [line[1] for line in lines[1:]]
        networks = 2 * 2 * 3
        self.assertEqual({name: commands.count(name) for name in set(commands)},
                         {"train": networks, "verify": networks, "attack": networks * len(ATTACKS), "report": 1})
        outs = {self.value(line, "--out") for line in lines if line[1] in ("train", "attack")}
        self.assertEqual(len(outs), networks * (1 + len(ATTACKS)))
        hours = float(re.fullmatch(r"about ([0-9.]+) hours on two cores\n", result.stderr)[1])
        self.assertGreater(hours, 1)
        self.assertLess(hours, 8)
        few = self.table("--dry", "--models", "tiny", "--seeds", "1").stderr
        self.assertLess(float(few.split()[1]), hours / 10)
        self.assertEqual(self.log.read_text(), "")
        self.assertFalse(self.out.exists())

    def test_a_whole_run(self):
        (self.box / "sets/cifar10").mkdir(parents=True)
        result = self.table("--models", "tiny", "--seeds", "3,4", "--data", "cifar10:sets/cifar10", "--limit-train", "500")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.log.read_text().splitlines()[0], "build release passnorm_cli")
        trained = self.calls("train")
        # A seed is complete before the next one begins.
        self.assertEqual([self.value(c, "--out") for c in trained],
                         [f"{self.out}/tiny-{scheme}-{seed}" for seed in (3, 4) for scheme in ("pan", "deepipr-v2")])
        for call in trained:
            self.assertEqual(self.value(call, "--data"), f"cifar10:{self.box}/sets/cifar10")
            self.assertTrue(self.value(call, "--out").endswith("-" + self.value(call, "--seed")))
        attacked = self.calls("attack")
        self.assertEqual([a[1] for a in attacked], [words[0] for words in ATTACKS] * 4)
        for call, words in zip(attacked, ATTACKS * 4):
            self.assertIn(" ".join(words[1:]), " ".join(call))
            self.assertEqual(self.value(call, "--limit-train"), "500")
            self.assertTrue(call[2].endswith("-" + self.value(call, "--seed")))
            self.assertEqual(self.value(call, "--passport"), call[2] + "/owner.passport")
        report, = self.calls("report")
        self.assertEqual(report[1:5], [f"{self.out}/tiny-{scheme}-{seed}" for scheme in ("pan", "deepipr-v2") for seed in (3, 4)])
        self.assertEqual(self.value(report, "--markdown"), f"{self.out}/attacks.md")
        self.assertTrue((self.out / "tiny-pan-3/verify.json").exists())
        self.assertEqual([p.name for p in (self.out / "tiny-pan-3/attacks/01-prune").iterdir()], ["attack-prune.json"])
        self.assertEqual(list(self.out.rglob("*.part")), [])

    def test_goes_on_where_it_was_stopped(self):
        self.assertEqual(self.table("--small", STOP="1").returncode, 75)
        self.assertEqual(self.calls("verify"), [])
        self.assertEqual(self.table("--small", FAIL="report", CODE="3").returncode, 3)
        self.assertIn("--resume", self.calls("train")[0])
        self.assertNotIn("--resume", self.calls("train")[1])
        self.assertEqual(self.table("--small").returncode, 0)
        for command in ("train", "verify", "attack"):
            self.assertEqual(self.calls(command), [], command)
        self.assertEqual(len(self.calls("report")), 1)

    def test_what_fails_stops_and_leaves_no_half_result(self):
        self.assertEqual(self.table("--small", FAIL="verify", CODE="3").returncode, 3)
        self.assertEqual(list(self.out.rglob("verify.json")), [])
        self.assertEqual(self.table("--small", FAIL="attack", CODE="5").returncode, 5)
        self.assertEqual(self.calls("report"), [])
        self.assertEqual(list(self.out.rglob("attack-*")), [])

    def test_what_a_network_does_not_suit_is_left_out_once(self):
        result = self.table("--small", LEFT="gauge")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr.count(": left out"), 4)
        self.assertEqual(len(self.calls("report")), 1)
        self.assertEqual(self.table("--small").returncode, 0)
        self.assertEqual(self.calls("attack"), [])

    def test_hours_end_it_with_a_report_of_what_is_there(self):
        result = self.table("--small", "--hours", "0")
        self.assertEqual(result.returncode, 75)
        self.assertEqual(self.calls("train") + self.calls("report"), [])
        self.assertIn("parts are left", result.stderr)


if __name__ == "__main__":
    unittest.main()
