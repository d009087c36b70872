"""Runs scripts/ and .ci/run on copies, with stand-ins for the commands that they call.

usage: scripts_test.py ROOT
"""

import shutil
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1)).resolve()
# As ctest 3.25 writes it.
JUNIT = '<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name="(empty)"\n\ttests="{}"\n\tfailures="{}"\n\tdisabled="0"\n\tskipped="{}"\n\ttime="9">\n</testsuite>\n'


class Scripts(unittest.TestCase):
    def setUp(self):
        self.box = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.box)
        self.tree, self.bin, self.log = self.box / "tree", self.box / "bin", self.box / "log"
        shutil.copytree(ROOT / "scripts", self.tree / "scripts")
        shutil.copytree(ROOT / ".ci", self.tree / ".ci")
        self.bin.mkdir()
        self.log.touch()

    def put(self, file, body):
        """A stand-in: writes its name and arguments to the log, then does `body`."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'#!/bin/bash\necho "$(basename "$0") $*" >>"{self.log}"\n{body}\n')
        file.chmod(0o755)

    def run_script(self, name, *arguments, **environment):
        path = f"{self.bin}:/usr/bin:/bin"
        return subprocess.run([self.tree / name, *arguments], capture_output=True, text=True,
                              env={"PATH": path, "HOME": str(self.box), "CUDA_PATH": "/nonexistent", **environment})

    def calls(self, command):
        return [line for line in self.log.read_text().splitlines() if line.startswith(command + " ")]

    # --- all

    def test_every_script_is_strict_and_runs(self):
        scripts = [f for f in (ROOT / "scripts").iterdir() if f.is_file() and f.read_bytes().startswith(b"#!/usr/bin/env bash")]
        for file in [*scripts, ROOT / ".ci/run"]:
            with self.subTest(file.name):
                self.assertTrue(file.stat().st_mode & stat.S_IXUSR)
                self.assertIn("\nset -euo pipefail\n", file.read_text())
                subprocess.run(["bash", "-n", file], check=True)

    # --- setup

    def packages(self, absent=()):
        tests = " || ".join(f'[ "${{@: -1}}" = {name} ]' for name in absent) or "false"
        self.put(self.bin / "dpkg-query", f"if {tests}; then exit 1; fi; printf installed")
        self.put(self.bin / "apt-get", ":")
        self.put(self.bin / "sudo", 'exec "$@"')

    def test_setup_does_nothing_when_all_is_installed(self):
        self.packages()
        result = self.run_script("scripts/setup")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        self.assertEqual(self.calls("apt-get"), [])
        self.assertGreater(len(self.calls("dpkg-query")), 10)

    def test_setup_installs_what_is_missing_only(self):
        self.packages(absent=["libhwy-dev", "zstd"])
        result = self.run_script("scripts/setup", "zstd")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(self.calls("apt-get")[-1].endswith(" libhwy-dev zstd"), self.calls("apt-get"))

    def test_setup_shows_why_apt_failed(self):
        self.packages(absent=["cmake"])
        self.put(self.bin / "apt-get", "echo no such mirror >&2; exit 100")
        result = self.run_script("scripts/setup")
        self.assertEqual(result.returncode, 1)
        self.assertIn("no such mirror", result.stderr)
        self.assertIn("could not install cmake", result.stderr)

    def test_setup_gets_cudnn_frontend_where_nvcc_is(self):
        self.packages()
        self.put(self.box / "cuda/bin/nvcc", ":")
        self.put(self.bin / "python3", "exit 1")
        result = self.run_script("scripts/setup", CUDA_PATH=str(self.box / "cuda"))
        self.assertEqual(result.returncode, 0, "a build for the CPU is a build")
        self.assertIn("--target build/python", self.calls("python3")[0])
        self.assertIn("CUDNN_FRONTEND_ROOT", result.stderr)
        self.put(self.tree / "build/python/include/cudnn_frontend.h", ":")
        result = self.run_script("scripts/setup", CUDA_PATH=str(self.box / "cuda"))
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(len(self.calls("python3")), 1)

    # --- build and test

    def stand_in_build(self, ctest="", cmake=""):
        self.put(self.tree / "scripts/setup", ":")
        self.put(self.bin / "cmake", cmake)
        self.put(self.bin / "ctest", 'while [ $# -gt 0 ]; do [ "$1" = --output-junit ] && report=$2; shift; done\n' + ctest)

    def report(self, *numbers):
        return f"printf '%s' '{JUNIT.format(*numbers)}' >\"$report\""

    def test_failed_build_is_shown_and_stops(self):
        self.stand_in_build(cmake="echo 'main.cpp:3: error: no semicolon'; exit 1")
        result = self.run_script("scripts/test")
        self.assertEqual(result.returncode, 1)
        self.assertIn("no semicolon", result.stderr)
        self.assertEqual(self.calls("ctest"), [])

    def test_summary_counts(self):
        self.stand_in_build(ctest=self.report(12, 0, 3))
        result = self.run_script("scripts/test")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"^scripts/test: 18 passed, 0 failed, 6 skipped in \d+ min \d\d s\n$")
        self.assertEqual([call.split()[2] for call in self.calls("ctest")], ["release", "emulated"])

    def test_failed_tests_fail_and_are_shown(self):
        shown = ["2/2 Test  #2: A.Fails ....***Failed    0.02 sec", "expected 1, Passed 2.0 sec", "50% tests passed, 1 tests failed out of 2"]
        lines = ["    Start  1: A.Passes", "1/2 Test  #1: A.Passes ....   Passed    0.01 sec", "    Start  2: A.Fails", *shown]
        self.stand_in_build(ctest=self.report(2, 1, 0) + "".join(f"\necho '{line}'" for line in lines) + "\nexit 8")
        result = self.run_script("scripts/test")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stdout.splitlines()[:-1], shown * 2)
        self.assertIn("2 passed, 2 failed, 0 skipped", result.stdout)

    def test_unknown_report_fails(self):
        self.stand_in_build(ctest="echo '<other/>' >\"$report\"")
        self.assertNotEqual(self.run_script("scripts/test").returncode, 0)

    def test_no_report_fails(self):
        self.stand_in_build(ctest="exit 7")
        self.assertEqual(self.run_script("scripts/test").returncode, 1)

    def test_full_adds_the_sanitizers_and_fuzzing(self):
        self.stand_in_build(ctest=self.report(5, 0, 1))
        self.put(self.tree / "scripts/fuzz", ":")
        result = self.run_script("scripts/test", "--full")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("16 passed, 0 failed, 4 skipped", result.stdout)
        self.assertEqual([call.split()[2] for call in self.calls("ctest")], ["full", "emulated-full", "asan", "threads"])
        self.assertIn("cmake --preset asan", self.calls("cmake"))
        self.assertEqual(self.calls("fuzz"), ["fuzz "])
        self.put(self.tree / "scripts/fuzz", "exit 1")
        self.assertEqual(self.run_script("scripts/test", "--full").returncode, 1)

    def test_fuzz_runs_every_target_and_names_what_it_found(self):
        self.stand_in_build()
        for name in ("a", "b"):
            (self.tree / f"tests/fuzz/corpus/{name}").mkdir(parents=True)
        (self.tree / "tests/fuzz/a.dict").touch()
        done = "echo '#7 DONE   cov: 12 ft: 3' >&2; echo 'stat::number_of_executed_units: 7'; echo 'stat::average_exec_per_sec:   5'"
        self.put(self.tree / "build/fuzz/tests/fuzz/a_fuzz", done)
        self.put(self.tree / "build/fuzz/tests/fuzz/b_fuzz", done)
        result = self.run_script("scripts/fuzz", "7")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(sorted(line.split()[0] for line in result.stdout.splitlines()), ["a", "b"])
        self.assertIn("7 inputs, 5 a second, 12 edges covered", result.stdout)
        self.assertIn("-runs=7 ", self.calls("a_fuzz")[0])
        self.assertIn("-dict=tests/fuzz/a.dict ", self.calls("a_fuzz")[0])
        self.put(self.tree / "build/fuzz/tests/fuzz/b_fuzz",
                 "echo 'fuzz: does not hold: x' >&2; echo 'artifact_prefix=; Test unit written to found/b-crash-1' >&2; exit 77")
        result = self.run_script("scripts/fuzz", "7", "b")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("FAILED: fuzz: does not hold: x\nfound/b-crash-1\n", result.stderr)
        self.assertEqual(len(self.calls("a_fuzz")), 1)

    def test_unknown_option_is_refused(self):
        self.stand_in_build()
        result = self.run_script("scripts/test", "--fast")
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertIn("usage:", result.stderr)

    # --- demo and continuous integration

    def test_demo_passes_its_arguments_on(self):
        self.stand_in_build()
        self.put(self.tree / "build/release/passnorm", "exit 5")
        self.assertEqual(self.run_script("scripts/demo", "--seed", "a b").returncode, 5)
        self.assertEqual(self.calls("passnorm"), ["passnorm demo --seed a b"])

    def ci_run(self):
        self.put(self.tree / "scripts/setup", ":")
        self.put(self.tree / "scripts/test", 'echo "data ${PASSNORM_DATA-none}"; exit 3')
        return self.run_script(".ci/run", "--full")

    def test_ci_without_data(self):
        result = self.ci_run()
        self.assertEqual((result.returncode, result.stdout), (3, "data none\n"))
        self.assertEqual(self.calls("test"), ["test --full"])

    def test_ci_unpacks_data_outside_the_tree(self):
        unpack = next(line.split("=")[1] for line in (ROOT / ".ci/run").read_text().splitlines() if line.startswith("unpack="))
        self.put(self.tree / unpack, 'mkdir -p "$1"; echo noise')
        result = self.ci_run()
        folder = Path(result.stdout.split()[1])
        self.assertEqual((result.returncode, result.stdout), (3, f"data {folder}\n"))
        self.assertTrue(folder.is_dir() and self.tree not in folder.parents, folder)


if __name__ == "__main__":
    unittest.main()
