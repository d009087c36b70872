"""Runs scripts/reproduce on a copy with stand-ins for the build and the program, and checks scripts/recipes.

usage: reproduce_test.py ROOT
"""

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1)).resolve()
RECIPES = sorted(file.stem for file in (ROOT / "scripts/recipes").glob("*.toml"))
# What the program writes. Each line of the log is one call.
PROGRAM = r"""#!/bin/bash
printf '%q ' "$@" >>"{log}"; echo >>"{log}"
[ "$1" = "${{FAIL-}}" ] && exit "${{CODE-1}}"
for ((i = 1; i <= $#; i++)); do [ "${{!i}}" != --out ] || {{ i=$((i + 1)); out=${{!i}}; }}; done
case $1 in
  train) mkdir -p "$out"; echo >"$out/config.toml"; [ -n "${{STOP-}}" ] && exit 75; echo >"$out/model.safetensors" ;;
  verify) echo '{{}}'; exit 9 ;;
  attack) [ "$2" = "${{LEFT-}}" ] && exit 2; mkdir -p "$out"; echo >"$out/attack-$2.json" ;;
  data) mkdir -p "$4"; echo >"$4/manifest.json" ;;
  report) echo page >"$out" ;;
esac
"""


class Reproduce(unittest.TestCase):
    def setUp(self):
        self.box = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.box)
        self.tree, self.log = self.box / "tree", self.box / "log"
        shutil.copytree(ROOT / "scripts", self.tree / "scripts")
        self.put("scripts/build", f'#!/bin/bash\necho "build $*" >>"{self.log}"\n')
        self.put("build/release/passnorm", PROGRAM.format(log=self.log))
        self.log.touch()

    def put(self, name, text):
        file = self.tree / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def reproduce(self, *arguments, **environment):
        self.log.write_text("")
        return subprocess.run([self.tree / "scripts/reproduce", *arguments], capture_output=True, text=True, cwd=self.box,
                              env={"PATH": "/usr/bin:/bin", **environment})

    def calls(self, command):
        return [words for words in map(shlex.split, self.log.read_text().splitlines()) if words[0] == command]

    @staticmethod
    def value(call, option):
        return call[call.index(option) + 1]

    # --- the script

    def test_arguments_that_are_wrong_are_refused(self):
        for arguments in ([], ["none"], ["../recipes/alexnet-cifar10-none-batch"], ["--fast"], ["--out"], ["--data", ""],
                          ["alexnet-cifar10-none-batch", "resnet18-cifar10-none-batch"]):
            with self.subTest(arguments):
                result = self.reproduce(*arguments)
                self.assertEqual((result.returncode, result.stdout), (2, ""))
                self.assertIn("usage: scripts/reproduce RECIPE", result.stderr)
        self.assertEqual(self.log.read_text(), "")

    def test_list(self):
        self.assertEqual(self.reproduce("--list").stdout.split(), RECIPES)

    def test_dry_runs_nothing(self):
        for recipe in RECIPES[::5]:
            with self.subTest(recipe):
                result = self.reproduce(recipe, "--small", "--dry")
                self.assertEqual(result.returncode, 0, result.stderr)
                lines = [shlex.split(line) for line in result.stdout.splitlines()]
                self.assertEqual(lines[0], ["scripts/build", "release", "passnorm_cli"])
                self.assertEqual(lines[-1][1], "report")
                commands = [line[1] for line in lines[1:]]
                self.assertEqual(commands.count("verify"), 0 if "-none-" in recipe else 1)
                self.assertEqual("attack" in commands, "-none-" not in recipe)
        self.assertEqual(self.log.read_text(), "")
        self.assertFalse((self.tree / "runs").exists())

    def test_a_whole_run(self):
        result = self.reproduce("alexnet-cifar10-pan-batch-all", "--data", "sets", PASSNORM_DATA="/elsewhere")
        self.assertEqual(result.returncode, 0, result.stderr)
        out = "runs/alexnet-cifar10-pan-batch-all"
        self.assertEqual(result.stdout, f"scripts/reproduce: {out}/report.html\n")
        self.assertEqual(self.log.read_text().splitlines()[0], "build release passnorm_cli")
        train, = self.calls("train")
        self.assertEqual(self.value(train, "--config"), "scripts/recipes/alexnet-cifar10-pan-batch-all.toml")
        self.assertEqual(self.value(train, "--data"), f"cifar10:{self.box}/sets/cifar10")
        self.assertNotIn("--epochs", train)
        self.assertTrue((self.tree / out / "verify.json").exists())
        attacks = self.calls("attack")
        listed = [line.split() for line in (ROOT / "scripts/recipes/default.attacks").read_text().splitlines()
                  if line and not line.startswith("#") and "OTHER" not in line]
        self.assertEqual([a[1] for a in attacks], [words[0] for words in listed])
        for call, words in zip(attacks, listed):
            self.assertEqual(" ".join(words[1:]) in " ".join(call), True, call)
            self.assertNotIn("--limit-train", call)
        self.assertEqual(sorted(p.name for p in (self.tree / out / "attacks").iterdir())[0], "01-prune")
        self.assertIn("no other data set", result.stderr)
        report, = self.calls("report")
        self.assertEqual(report[1], out)

    def test_the_other_task(self):
        for name in ("cifar10", "cifar100"):
            (self.box / "sets" / name).mkdir(parents=True)
        self.reproduce("alexnet-cifar100-pan-batch-all", "--data", "sets", "--out", "o")
        transfer, = (call for call in self.calls("attack") if "--other-data" in call)
        self.assertEqual(self.value(transfer, "--other-data"), f"cifar10:{self.box}/sets/cifar10")

    def test_small(self):
        self.reproduce("resnet18-cifar100-pan-group-all", "--small")
        train, = self.calls("train")
        self.assertEqual(self.value(train, "--model"), "tiny")
        self.assertEqual(self.value(train, "--data"), "synthetic")
        self.assertEqual(self.value(train, "--out"), "runs/resnet18-cifar100-pan-group-all-small")
        self.assertTrue(all("--limit-train" in call for call in self.calls("attack")))
        self.reproduce("pointnet-modelnet-pan-batch", "--small")
        train, = self.calls("train")
        self.assertEqual(self.value(train, "--data"), "synthetic3d")
        self.assertNotIn("--model", train)

    def test_keys_of_pictures_come_from_a_network_that_is_trained_first(self):
        result = self.reproduce("resnet18-cifar10-deepipr-v2-group", "--small", "--out", "o/v2")
        self.assertEqual(result.returncode, 0, result.stderr)
        base, train = self.calls("train")
        self.assertEqual(self.value(base, "--config"), "scripts/recipes/resnet18-cifar10-none-batch.toml")
        self.assertNotIn("--signature", base)
        self.assertEqual(self.value(base, "--out"), f"{self.box}/o/resnet18-cifar10-none-batch-small")
        self.assertEqual(self.value(train, "--pretrained"), self.value(base, "--out"))

    def test_triggers(self):
        recipe = "alexnet-cifar100-deepipr-v3-group"
        self.reproduce(recipe, "--data", "sets", "--out", "o")  # drawn where no pictures lie
        drawn, = self.calls("data")
        self.assertEqual((self.value(drawn, "--classes"), self.value(drawn, "--out")), ("100", f"{self.box}/o.triggers"))
        base, train = self.calls("train")
        self.assertNotIn("--triggers", base)
        for call in (train, *self.calls("attack")):
            self.assertEqual(self.value(call, "--triggers"), f"{self.box}/o.triggers")
        (self.box / "sets/trigger").mkdir(parents=True)
        self.reproduce(recipe, "--data", "sets", "--out", "p")
        self.assertEqual(self.calls("data"), [])
        self.assertEqual(self.value(self.calls("train")[0], "--triggers"), f"{self.box}/sets/trigger")
        self.reproduce("pointnet-modelnet-deepipr-v3-group", "--data", "sets")
        self.assertEqual(self.value(self.calls("train")[0], "--triggers"), "synthetic3d#50")
        self.reproduce("pointnet-modelnet-deepipr-v3-group", "--small")
        self.assertEqual(self.value(self.calls("train")[0], "--triggers"), "")

    def test_goes_on_where_it_was_stopped(self):
        recipe = "alexnet-cifar10-pan-batch-all"
        self.assertEqual(self.reproduce(recipe, "--small", STOP="1").returncode, 75)
        self.assertEqual(self.calls("verify"), [])
        self.assertEqual(self.reproduce(recipe, "--small", FAIL="report", CODE="3").returncode, 3)
        train, = self.calls("train")
        self.assertIn("--resume", train)
        self.assertNotEqual(self.calls("attack"), [])
        again = self.reproduce(recipe, "--small")
        self.assertEqual(again.returncode, 0)
        for command in ("train", "verify", "attack"):
            self.assertEqual(self.calls(command), [], command)
        self.assertEqual(len(self.calls("report")), 1)

    def test_what_fails_stops_and_leaves_no_half_result(self):
        recipe, out = "alexnet-cifar10-pan-batch-all", self.tree / "runs/alexnet-cifar10-pan-batch-all-small"
        self.assertEqual(self.reproduce(recipe, "--small", FAIL="verify", CODE="3").returncode, 3)
        self.assertFalse((out / "verify.json").exists())
        self.assertEqual(self.reproduce(recipe, "--small", FAIL="attack", CODE="5").returncode, 5)
        self.assertEqual(self.calls("report"), [])
        result = self.reproduce(recipe, "--small", LEFT="gauge")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("note: gauge: left out", result.stderr)
        self.assertEqual([p.name for p in (out / "attacks").glob("*gauge*")], [])

    # --- the recipes

    def test_every_recipe_is_what_its_name_says(self):
        self.assertGreater(len(RECIPES), 40)
        for recipe in RECIPES:
            with self.subTest(recipe):
                text = (ROOT / f"scripts/recipes/{recipe}.toml").read_text()
                values = tomllib.loads(text)
                name = [values["model"], values["data"].split(":")[0], values["scheme"], values["norm"]]
                name += ["all"] if values.get("sites") == "all" else []
                self.assertEqual("-".join(name), recipe)
                head = "".join(line[1:] for line in text.splitlines(keepends=True) if line.startswith("#"))
                self.assertRegex(head, r"(?s)Source: .+\.\n Expected: .+\.\n$")
                if "%" in head:
                    self.assertRegex(re.sub(r"\s+", " ", head), r"\d%.*(Chen et al\. \(CVPR 2023\)|plotting script)")
                else:
                    self.assertIn("not published", head)
                self.assertLess(text.count("\n"), 30)
                if values.get("passport") in ("image", "shuffle"):
                    base = f"{values['model']}-{values['data'].split(':')[0]}-none-batch"
                    self.assertIn(base, RECIPES)

    def test_the_experiments_of_the_papers_are_there(self):
        for network in ("alexnet", "resnet18"):
            for data in ("cifar10", "cifar100"):
                for rest in ("none-batch", "deepipr-v1-batch", "deepipr-v1-group", "deepipr-v2-group", "deepipr-v3-group",
                             "pan-batch-all", "pan-group-all", "pan-instance-all"):
                    self.assertIn(f"{network}-{data}-{rest}", RECIPES)
        for rest in ("none-batch", "deepipr-v2-group", "deepipr-v3-group", "pan-batch", "pan-group"):
            self.assertIn(f"pointnet-modelnet-{rest}", RECIPES)


if __name__ == "__main__":
    unittest.main()
