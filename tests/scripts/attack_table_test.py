"""Runs scripts/attack_table on a copy with stand-ins for the build and the program.

usage: attack_table_test.py ROOT
"""

import re
import shlex
import unittest

from stand_in import ScriptTest, attacks_of

ATTACKS = attacks_of("table")


class AttackTable(ScriptTest):
    def setUp(self):
        super().setUp()
        self.out = self.box / "out"

    def table(self, *arguments, **environment):
        return self.run_script("attack_table", "out", *arguments, **environment)

    def test_arguments_that_are_wrong_are_refused(self):
        for arguments in (["--models", "lenet"], ["--seeds", "1,x"], ["--fast"], ["--epochs", "many"]):
            with self.subTest(arguments):
                result = self.table(*arguments)
                self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.out.write_text("")
        self.assertIn("is no folder\n", self.table("--small").stderr)
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
        self.assertRegex(result.stderr, r"^about [0-9.]+ h on two cores\n$")
        # Measured on two cores: 11 minutes.
        tiny = re.fullmatch(r"about ([0-9]+) min on two cores\n", self.table("--dry", "--models", "tiny").stderr)
        self.assertIn(int(tiny[1]), range(10, 13))
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
        self.assertEqual([p.name for p in (self.out / "tiny-pan-3/attacks/prune_rates=0.1..0.9:0.1").iterdir()], ["attack-prune.json"])
        self.assertTrue((self.out / "tiny-pan-3/attacks/fine-tune_then_prune:rates=0.5_then_quantise:formats=8").is_dir())
        self.assertEqual(len(list((self.out / "tiny-pan-3/attacks").iterdir())), len(ATTACKS))
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

    def test_a_line_that_changes_is_a_new_one(self):
        self.assertEqual(self.table("--small").returncode, 0)
        self.change_attacks("table", "gauge --set shares=1", "gauge --set shares=0.5,1")
        self.assertEqual(self.table("--small").returncode, 0)
        attacked = self.calls("attack")
        self.assertEqual([(a[1], self.value(a, "--set")) for a in attacked], [("gauge", "shares=0.5,1")] * 4)
        for name in ("gauge_shares=1", "gauge_shares=0.5,1"):  # what was measured stays
            self.assertTrue((self.out / "tiny-pan-1/attacks" / name / "attack-gauge.json").exists(), name)

    def test_other_options_need_another_folder(self):
        self.assertEqual(self.table("--small").returncode, 0)
        before = sorted(self.out.rglob("*"))
        for other in (["--limit-test", "100"], ["--limit-train", "100"], ["--epochs", "3"], ["--data", "synthetic:N=80"],
                      ["--limit-test", "100", "--dry"]):
            with self.subTest(other):
                result = self.table("--small", *other)
                self.assertEqual((result.returncode, result.stdout), (2, ""))
                self.assertRegex(result.stderr, r"^scripts/attack_table: .*was begun with \{.*\}, not \{.*\}; choose another OUT\n$")
                self.assertEqual(self.log.read_text(), "")
        self.assertEqual(sorted(self.out.rglob("*")), before)
        # The same ones said aloud, and another seed.
        result = self.table("--small", "--epochs", "2", "--limit-test", "200", "--seeds", "1,2,3", "--hours", "9")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual({self.value(call, "--seed") for call in self.calls("train")}, {"3"})

    def test_what_an_earlier_version_began_is_refused(self):
        run = self.out / "tiny-pan-1"
        run.mkdir(parents=True)
        (run / "config.toml").touch()
        for more in ([], ["--dry"]):
            result = self.table("--small", *more)
            self.assertEqual((result.returncode, result.stdout), (2, ""))
            self.assertRegex(result.stderr, r"^scripts/attack_table: .*/out was begun by an earlier version; choose another OUT\n$")
        self.assertEqual(self.log.read_text(), "")
        self.assertEqual(sorted(self.out.iterdir()), [run])

    def test_what_fails_stops_and_leaves_no_half_result(self):
        self.assertEqual(self.table("--small", FAIL="verify", CODE="3").returncode, 3)
        self.assertEqual(list(self.out.rglob("verify.json")), [])
        self.assertEqual(self.table("--small", FAIL="attack", CODE="5").returncode, 5)
        self.assertEqual(self.calls("report"), [])
        self.assertEqual(list(self.out.rglob("attack-*")), [])

    def test_what_a_network_does_not_suit_is_left_out_once(self):
        for left, code in (("gauge", "2"), ("overwrite", "6")):
            with self.subTest(left):
                result = self.table("--small", "--seeds", code, LEFT=left, CODE=code)
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertEqual(result.stderr.count(": left out"), 2)
                self.assertEqual(len(self.calls("report")), 1)
                self.assertEqual(self.table("--small", "--seeds", code).returncode, 0)
                self.assertEqual(self.calls("attack"), [])

    def test_a_wrong_environment_leaves_no_attack_out(self):
        self.assertEqual(self.table("--small", FAIL="attack", CODE="5").returncode, 5)
        result = self.table("--small", PASSNORM_THREADS="two")
        self.assertEqual(result.returncode, 2)
        self.assertNotIn("left out", result.stderr)
        self.assertEqual(list(self.out.rglob("attacks")), [])
        self.assertEqual(self.table("--small").returncode, 0)
        self.assertEqual(len(self.calls("attack")), 4 * len(ATTACKS))

    def test_hours_end_it_with_a_report_of_what_is_there(self):
        result = self.table("--small", "--hours", "0")
        self.assertEqual(result.returncode, 75)
        self.assertEqual(self.calls("train") + self.calls("report"), [])
        self.assertIn("parts are left", result.stderr)


if __name__ == "__main__":
    unittest.main()
