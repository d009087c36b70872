"""Runs scripts/reproduce on a copy with stand-ins for the build and the program, and checks scripts/recipes.

usage: reproduce_test.py ROOT
"""

import re
import shlex
import tomllib
import unittest

from stand_in import ROOT, ScriptTest, attacks_of

RECIPES = sorted(file.stem for file in (ROOT / "scripts/recipes").glob("*.toml"))


class Reproduce(ScriptTest):
    def reproduce(self, *arguments, **environment):
        return self.run_script("reproduce", *arguments, **environment)

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
        for recipe in RECIPES[::4]:
            with self.subTest(recipe):
                result = self.reproduce(recipe, "--small", "--dry")
                self.assertEqual(result.returncode, 0, result.stderr)
                lines = [shlex.split(line) for line in result.stdout.splitlines()]
                self.assertEqual(lines[0], ["scripts/build", "release", "passnorm_cli"])
                self.assertEqual(lines[-1][1], "report")
                commands = [line[1] for line in lines[1:]]
                self.assertEqual(commands.count("verify"), 0 if "-none-" in recipe else 1)
                self.assertEqual("attack" in commands, "-none-" not in recipe)
                outs = [self.value(line, "--out") for line in lines if line[1] == "attack"]
                self.assertEqual(len(set(outs)), len(outs))
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
        listed = [words for words in attacks_of("pan") if "OTHER" not in words]
        self.assertEqual([a[1] for a in attacks], [words[0] for words in listed])
        for call, words in zip(attacks, listed):
            self.assertIn(" ".join(words[1:]), " ".join(call))
            self.assertNotIn("--limit-train", call)
        folders = {p.name for p in (self.tree / out / "attacks").iterdir()}
        self.assertEqual(len(folders), len(listed))
        self.assertLess({"quantise", "prune_target=owner_variant=skip-gate", "fake3_epochs=100_flips=0..1:0.1",
                         "fine-tune_epochs=10_then_prune:rates=0.5_then_quantise:formats=8"}, folders)
        self.assertIn("no other data set", result.stderr)
        report, = self.calls("report")
        self.assertEqual(report[1], out)

    def test_the_other_task(self):
        for name in ("cifar10", "cifar100"):
            (self.box / "sets" / name).mkdir(parents=True)
        self.reproduce("alexnet-cifar100-pan-batch-all", "--data", "sets", "--out", "o")
        transfer, = (call for call in self.calls("attack") if "--other-data" in call)
        self.assertEqual(self.value(transfer, "--other-data"), f"cifar10:{self.box}/sets/cifar10")
        self.reproduce("pointnet-modelnet-pan-batch", "--data", "sets", "--out", "p")
        transfers = [call for call in self.calls("attack") if "--other-data" in call]
        self.assertEqual(len(transfers), 2)
        for call in transfers:
            self.assertEqual(self.value(call, "--other-data"), "synthetic3d:points=1024")

    def test_a_folder_of_data_with_an_ampersand(self):
        for name in ("cifar10", "cifar100"):
            (self.box / "R&D" / name).mkdir(parents=True)
        self.reproduce("alexnet-cifar10-pan-batch-all", "--data", "R&D")
        transfer, = (call for call in self.calls("attack") if "--other-data" in call)
        self.assertEqual(self.value(transfer, "--other-data"), f"cifar100:{self.box}/R&D/cifar100")

    def test_the_folder_of_data_may_be_spelled_otherwise(self):
        recipe = "alexnet-cifar10-pan-batch-all"
        self.assertEqual(self.reproduce(recipe).returncode, 0)
        self.assertEqual(self.value(self.calls("train")[0], "--data"), f"cifar10:{self.tree}/data/cifar10")
        for arguments, environment in ((["--data", "tree/data"], {}), (["--data", f"{self.tree}/data"], {}),
                                       ([], {"PASSNORM_DATA": "data"}), ([], {"PASSNORM_DATA": f"{self.tree}/data"})):
            with self.subTest(arguments, **environment):
                result = self.reproduce(recipe, *arguments, **environment)
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertEqual(self.calls("train"), [])

    def test_lists_of_attacks(self):
        def attacked(recipe):
            lines = self.reproduce(recipe, "--data", "sets", "--dry").stdout.splitlines()
            return [words[2] for words in map(shlex.split, lines) if words[1] == "attack"]

        for recipe, name in (("alexnet-cifar10-deepipr-v1-batch", "deepipr"), ("alexnet-cifar10-pan-sbn-batch-all", "pan"),
                             ("pointnet-modelnet-deepipr-v2-group", "pointnet")):
            expected = [words[0] for words in attacks_of(name) if name == "pointnet" or "OTHER" not in words]
            self.assertEqual(attacked(recipe), expected, recipe)
        recipe = "pointnet-modelnet-pan-group"
        (self.tree / f"scripts/recipes/{recipe}.attacks").write_text("# mine\n\nflip\n")
        self.assertEqual(attacked(recipe), ["flip"])

    def test_a_line_that_changes_is_a_new_one(self):
        recipe, attacks = "alexnet-cifar10-pan-batch-all", self.tree / "runs/alexnet-cifar10-pan-batch-all-small/attacks"
        self.reproduce(recipe, "--small")
        self.change_attacks("pan", "gauge", "gauge --set shares=1")
        self.reproduce(recipe, "--small")
        call, = self.calls("attack")
        self.assertEqual((call[1], self.value(call, "--set")), ("gauge", "shares=1"))
        for name in ("gauge", "gauge_shares=1"):  # what was measured stays
            self.assertTrue((attacks / name / "attack-gauge.json").exists(), name)

    def test_another_experiment_needs_another_folder(self):
        recipe = "alexnet-cifar10-deepipr-v2-batch"
        self.assertEqual(self.reproduce(recipe, "--small", "--out", "o/v2").returncode, 0)
        before = sorted((self.box / "o").rglob("*"))
        for other in ([recipe], [recipe, "--dry"], [recipe, "--small", "--data", "sets"],
                      ["alexnet-cifar10-pan-batch-all", "--small"]):
            with self.subTest(other):
                result = self.reproduce(*other, "--out", "o/v2")
                self.assertEqual((result.returncode, result.stdout), (2, ""))
                self.assertRegex(result.stderr, r"^scripts/reproduce: .*/o/v2 was begun with .*; choose another --out\n$")
                self.assertEqual(self.log.read_text(), "")
        # So does the ordinary network, which other recipes share.
        result = self.reproduce("alexnet-cifar10-deepipr-v3-group", "--small", "--data", "sets", "--out", "o/v3")
        self.assertEqual(result.returncode, 2)
        self.assertIn("o/alexnet-cifar10-none-batch-small was begun with", result.stderr)
        self.assertEqual(self.calls("train"), [])
        self.assertLess(set(before), set((self.box / "o").rglob("*")))

    def test_what_an_earlier_version_began_is_refused(self):
        (self.box / "o/attacks/01-flip").mkdir(parents=True)
        before = sorted((self.box / "o").rglob("*"))
        for more in ([], ["--dry"]):
            result = self.reproduce("alexnet-cifar10-pan-batch-all", "--small", "--out", "o", *more)
            self.assertEqual((result.returncode, result.stdout), (2, ""))
            self.assertRegex(result.stderr, r"^scripts/reproduce: .*/o was begun by an earlier version.*; choose another --out\n$")
        self.assertEqual(self.log.read_text(), "")
        self.assertEqual(sorted((self.box / "o").rglob("*")), before)

    def test_small(self):
        self.reproduce("resnet18-cifar100-pan-group-all", "--small")
        train, = self.calls("train")
        self.assertEqual(self.value(train, "--model"), "tiny")
        self.assertEqual(self.value(train, "--data"), "synthetic")
        self.assertEqual(self.value(train, "--out"), "runs/resnet18-cifar100-pan-group-all-small")
        for call in self.calls("attack"):
            self.assertIn("--limit-train", call)
            self.assertNotIn("epochs=", " ".join(call))
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
        # The data that --small makes are that other set.
        recipe = "pointnet-modelnet-pan-batch-triggers"
        self.reproduce(recipe, "--small")
        drawn, = self.calls("data")
        self.assertEqual((self.value(drawn, "--classes"), self.value(drawn, "--points")), ("8", "256"))
        self.assertNotIn("--size", drawn)
        for call in (self.calls("train")[0], *self.calls("attack")):
            self.assertEqual(self.value(call, "--triggers"), f"runs/{recipe}-small.triggers")

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
        self.assertEqual(list(out.rglob("attack-*")), [])

    def test_what_a_network_does_not_suit_is_left_out_once(self):
        recipe = "alexnet-cifar10-pan-batch-all"
        for left, code in (("gauge", "2"), ("overwrite", "6")):
            with self.subTest(left):
                result = self.reproduce(recipe, "--small", "--out", code, LEFT=left, CODE=code)
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertIn(f"note: {left}: left out\n", result.stderr)
                self.assertEqual(list((self.box / code / "attacks" / left).iterdir()), [])
                self.reproduce(recipe, "--small", "--out", code)
                self.assertEqual(self.calls("attack"), [])

    def test_a_wrong_environment_leaves_no_attack_out(self):
        recipe = "alexnet-cifar10-pan-batch-all"
        self.assertEqual(self.reproduce(recipe, "--small", "--out", "o", FAIL="attack", CODE="5").returncode, 5)
        result = self.reproduce(recipe, "--small", "--out", "o", PASSNORM_THREADS="two")
        self.assertEqual(result.returncode, 2)
        self.assertNotIn("left out", result.stderr)
        self.assertFalse((self.box / "o/attacks").exists())
        self.assertEqual(self.reproduce(recipe, "--small", "--out", "o").returncode, 0)
        self.assertNotEqual(self.calls("attack"), [])

    # --- the recipes

    def test_every_recipe_is_what_its_name_says(self):
        self.assertGreater(len(RECIPES), 40)
        for recipe in RECIPES:
            with self.subTest(recipe):
                text = (ROOT / f"scripts/recipes/{recipe}.toml").read_text()
                values = tomllib.loads(text)
                name = [values["model"], values["data"].split(":")[0], values["scheme"], values["norm"]]
                name += ["all"] if values.get("sites") == "all" else []
                name += ["triggers"] if "triggers" in values and values["scheme"] != "deepipr-v3" else []
                self.assertEqual("-".join(name), recipe)
                head = re.sub(r"\s+", " ", "".join(line[1:] for line in text.splitlines(keepends=True) if line.startswith("#")))
                parts = re.fullmatch(r".+?\. Source: .+?\.( Data: .+?\.)? Published: (.+?)\.( Expected: (.+) to (.+)%\.)? ", head)
                self.assertTrue(parts, head)
                self.assertEqual(parts[1] is not None, values["model"] == "pointnet")
                figures = [float(f) for f in re.findall(r"([0-9.]+)%", parts[2])]
                if figures:
                    self.assertRegex(parts[2], r"Chen et al\. \(CVPR 2023\)|plotting script|poster")
                else:
                    self.assertIn("no figure", parts[2])
                # A range takes two sources.
                self.assertEqual(parts[3] is not None, len(figures) > 1)
                if parts[3]:
                    self.assertEqual([float(parts[4]), float(parts[5])], [round(min(figures), 1), round(max(figures), 1)])
                if values["scheme"] == "deepipr-v1":
                    self.assertNotIn("public", head)
                self.assertLess(text.count("\n"), 30)
                if values.get("passport") in ("image", "shuffle"):
                    base = f"{values['model']}-{values['data'].split(':')[0]}-none-batch"
                    self.assertIn(base, RECIPES)

    def test_the_experiments_of_the_papers_are_there(self):
        for network in ("alexnet", "resnet18"):
            for data in ("cifar10", "cifar100"):
                for rest in ("none-batch", "deepipr-v1-batch", "deepipr-v1-group", "deepipr-v2-group", "deepipr-v3-group",
                             "pan-batch-all", "pan-group-all", "pan-instance-all", "pan-batch-all-triggers"):
                    self.assertIn(f"{network}-{data}-{rest}", RECIPES)
        for rest in ("none-batch", "deepipr-v2-group", "deepipr-v3-group", "pan-batch", "pan-group", "pan-batch-triggers",
                     "pan-sbn-se-batch"):
            self.assertIn(f"pointnet-modelnet-{rest}", RECIPES)


if __name__ == "__main__":
    unittest.main()
