"""scripts/gpu_suite and scripts/results: from end to end on stand-ins for every program, and, given a build folder, the dry run.

usage: gpu_suite_test.py ROOT [BUILD]
"""

import fnmatch
import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import types
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1)).resolve()
BUILD = Path(sys.argv.pop(1)).resolve() if len(sys.argv) > 1 and not sys.argv[1].startswith("-") and Path(sys.argv[1]).is_dir() else None
PARTS = ["facts", "ceilings", "tests", "equal", "repeat", "sanitizers", "kernels", "steps", "training"]

# The program: answers from its arguments; files in the folder `faults` make a command fail or hang.
PROGRAM = """#!{python}
import json, os, pathlib, re, sys, time
a, box = sys.argv[1:], pathlib.Path({box!r})
def option(name, default=None): return a[a.index(name) + 1] if name in a else default
with open(box / "calls", "a") as f: f.write(" ".join(a) + "\\n")
with open(box / "engines", "a") as f: f.write(a[0] + " " + os.environ["PASSNORM_ENGINES"] + " " + option("--engines", "-") + "\\n")
what = a[1] if a[0] == "bench" else a[0]
if (box / "faults/no_gpu").exists() and option("--device") == "cuda":
    sys.exit(print("passnorm: no NVIDIA driver is installed", file=sys.stderr) or 4)
if (box / "faults" / what).exists(): sys.exit(print("passnorm: " + what + " is broken", file=sys.stderr) or 70)
if (box / "faults" / (what + "_hangs")).exists(): time.sleep(60)
if (box / "faults/large_norms_hang").exists() and "norm" in option("--filter", "") and option("--batch") == "512": time.sleep(60)
if (box / "faults/convolutions_hang").exists() and "^conv/" in option("--filter", ""): time.sleep(60)
if (box / "faults" / (what + "_is_slow")).exists(): time.sleep(0.4)
ms = lambda t: {{"median": t, "least": t, "most": t}}
if what == "--version": print("passnorm 0.1.0 (abcdef012345, GNU 12.2.0, Release)")
if what == "doctor":
    gpus = [] if (box / "faults/no_gpu").exists() else [{{"name": "NVIDIA H999"}}]
    print(json.dumps({{"checks": [{{"name": "GPU", "value": "none: no NVIDIA driver is installed", "data": {{"gpus": gpus}}}}]}}))
if what == "ceilings": print(json.dumps({{"ceilings": {{"copy 1 MiB": 2e12, "copy 1024 MiB": 3e12, "matmul bf16 8192": 7.5e14}}}}))
if what == "kernels":
    copy = {{"ceiling": "copy 1024 MiB", "bytes": 100}}
    all = [{{"name": "norm/both/resnet_layer1/bf16", "milliseconds": ms(0.1), "share": 0.5, "moved_bytes": 160, **copy}},
           {{"name": "passport/all_pan/resnet18/f32", "milliseconds": ms(0.02), "share": 0.4, "launches": 5, **copy}},
           {{"name": "reduce/sum_squares/resnet18/f32", "milliseconds": ms(0.01), "share": 0.7, **copy}},
           {{"name": "conv/forward/resnet_layer1/bf16", "milliseconds": ms(0.3), "share": 0.6, **copy}},
           {{"name": "conv/forward/resnet_layer1/f16", "skipped": "not here"}}]
    print(json.dumps({{"kernels": [k for k in all if re.search(option("--filter"), k["name"])]}}))
if what == "step":
    t = {{"bf16": 2.0, "f16": 1.5, "f32": 5.0}}[option("--precision")]
    print(json.dumps({{"milliseconds": ms(t), "ceiling": "matmul bf16 8192", "share": 0.3, "launches": 150, "peak_mib": 900}}))
if what == "train":
    out = pathlib.Path(option("--out"))
    out.mkdir(parents=True)
    drift = 1.5 if (box / "faults/drift").exists() and option("--device") == "cuda" else 1
    noise = str(time.time()) if (box / "faults/noise").exists() else ""
    (out / "model.safetensors").write_text("model" + noise)
    (out / "owner.passport").write_text("passport")
    (out / "config.toml").write_text("lr = 1")
    for i in range(2):
        line = {{"epoch": i + 1, "seconds": 2.5, "loss": {{"public": drift * (2 - i), "passport": 3 - i}},
                "test_accuracy": {{"public": 0.85 + 0.1 * i, "passport": 0.8}}}}
        with open(out / "metrics.jsonl", "a") as f: f.write(json.dumps(line) + "\\n")
    if (box / "faults/train_hangs_later").exists():
        with open(out / "metrics.jsonl", "a") as f: f.write('{{"epoch": 3, "sec')
        time.sleep(60)
"""

GTEST = """#!{python}
import json, pathlib, sys, time
box = pathlib.Path({box!r})
name = pathlib.Path(sys.argv[0]).name
if (box / "faults/tests_hang").exists() and name == "kernels_cuda_test" and "filter=*/Convolution" not in sys.argv[1]:
    print("[ RUN      ] A.Right\\n[       OK ] A.Right (1 ms)\\n[ RUN      ] A.Wrong/2\\nwrong\\n"
          "[  FAILED  ] A.Wrong/2, where GetParam() = 3 (20 ms)\\n[ RUN      ] A.Slow", flush=True)
    time.sleep(60)
report = next(x for x in sys.argv if x.startswith("--gtest_output=json:"))[20:]
with open(box / "calls", "a") as f: f.write(name + " " + " ".join(sys.argv[1:]) + "\\n")
broken = (box / "faults/tests").exists() and "-*Full*:" in sys.argv[1]
tests = [{{"name": "Right", "result": "COMPLETED"}}, {{"name": "Wrong", "result": "COMPLETED", **({{"failures": [1]}} if broken else {{}})}},
         {{"name": "Other", "result": "SKIPPED"}}]
pathlib.Path(report).write_text(json.dumps({{"testsuites": [{{"name": "Norm", "testsuite": tests}}]}}))
if broken: print("misaligned address", "." * 50000)
sys.exit(broken)
"""

SANITIZER = """#!/bin/sh
echo "compute-sanitizer $*" >>{box}/calls
while [ "${{1#-}}" != "$1" ]; do shift 2; done
[ ! -e {box}/faults/sanitizer ] || echo '========= Invalid __global__ read of size 4 bytes'
"$@" && echo '========= ERROR SUMMARY: 0 errors'
"""

# An interpreter that seems to have torch, and whose torch_step.py answers at once.
PYTHON = """#!{python}
import json, os, sys
if "serve" in sys.argv:
    for line in sys.stdin:
        a = json.loads(line)
        if os.path.exists({box!r} + "/faults/torch_dies") and "--compile" in a: sys.exit(1)
        t = {{"--published": 20.0, "--no-tf32": 15.0, "bf16": 6.0, "f16": 3.0}}
        time = 8.0 if "--compile" in a else next((t[k] for k in t if k in a), 0.4)
        answer = {{"milliseconds": {{"median": time}}, "peak_mib": 1800}}
        print(json.dumps({{"error": "broken"}} if "alexnet" in a else {{"shapes": [answer]}} if a[0] == "norm" else answer), flush=True)
elif "cuda.is_available" not in " ".join(sys.argv):
    if "site" in sys.argv[-1]: print(json.dumps([{box!r} + "/site-packages"]))
    else: print(json.dumps({{"torch": "9.9", "cuda": "13.0", "cudnn": 91900}}))
"""


class StandIns(unittest.TestCase):
    def setUp(self):
        self.box = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.box)
        self.tree, self.out, self.binaries = self.box / "tree", self.box / "out", self.box / "binaries"
        for script in ("gpu_suite", "results"):
            self.write(self.tree / "scripts" / script, (ROOT / "scripts" / script).read_text())
        self.put(self.binaries / "passnorm", PROGRAM)
        self.put(self.binaries / "kernels_cuda_test", GTEST)
        self.put(self.binaries / "training_cuda_test", GTEST)
        self.put(self.box / "bin/python9", PYTHON)
        self.put(self.box / "bin/compute-sanitizer", SANITIZER)
        self.write(self.box / "bin/nvidia-smi", "#!/bin/sh\necho 'NVIDIA H999, 580.1, 81559 MiB, 1980 MHz, 2619 MHz, 700 W, 9.0'\n")
        (self.box / "site-packages/nvidia/cudnn/lib").mkdir(parents=True)
        (self.box / "data/cifar10").mkdir(parents=True)

    def write(self, file, text):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def put(self, file, text):
        self.write(file, text.format(python=sys.executable, box=str(self.box)))

    def fault(self, name):
        self.write(self.box / "faults" / name, "")

    def command(self, name, *arguments):
        return [sys.executable, "-B", self.tree / "scripts" / name, *map(str, arguments)]

    def environment(self):
        return {"PATH": f"{self.box}/bin:{os.environ['PATH']}", "TORCH_PYTHON": str(self.box / "bin/python9"),
                "PASSNORM_DATA": str(self.box / "data")}

    def run_script(self, name, *arguments):
        return subprocess.run(self.command(name, *arguments), capture_output=True, text=True, env=self.environment())

    def suite(self, *arguments):
        return self.run_script("gpu_suite", self.out, "--binaries", self.binaries, *arguments)

    def part(self, name):
        return json.loads((self.out / f"{name}.json").read_text())

    def record(self):
        (file,) = self.out.glob("gpu-*.json")
        return file, json.loads(file.read_text())

    def calls(self):
        file = self.box / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def test_whole_run(self):
        done = self.suite()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual({name: self.part(name)["outcome"] for name in PARTS}, dict.fromkeys(PARTS, "passed"))
        self.assertEqual([line.split()[0] for line in done.stdout.splitlines()], PARTS)
        file, record = self.record()
        self.assertRegex(file.name, r"^gpu-nvidia-h999-20\d\d-\d\d-\d\d\.json$")
        self.assertEqual((record["device"], record["driver"], record["commit"], record["torch"]),
                         ("NVIDIA H999", "580.1", "abcdef012345", "9.9"))
        self.assertEqual(record["ceilings"]["copy 1024 MiB"], 3e12)
        rows = {row["name"]: row for row in record["rows"]}
        norm = rows["norm/both/resnet_layer1/bf16 batch 64"]
        self.assertEqual((norm["share"], norm["moved_share"], norm["peers"]["eager"]["ratio"]), (0.5, 0.8, 60))
        self.assertEqual(rows["passport/all_pan/resnet18/f32"]["launches"], 5)
        self.assertEqual(rows["reduce/sum_squares/resnet18/f32"]["share"], 0.7)
        step = rows["step resnet18 deepipr-v2 last bf16 batch 64"]
        self.assertEqual({label: peer["ratio"] for label, peer in step["peers"].items()},
                         {"as published (TF32)": 10, "channels_last AMP bf16": 3, "compiled AMP bf16": 4})
        self.assertEqual(rows["step resnet18 deepipr-v2 last f16 batch 64"]["peers"]["channels_last AMP f16"]["ratio"], 2)
        for batch in (64, 512):
            peers = rows[f"step resnet18 deepipr-v2 last f32 batch {batch}"]["peers"]
            self.assertEqual((peers["as published (TF32)"]["ratio"], peers["channels_last f32"]["ratio"]), (4, 3))
        self.assertEqual([row["name"] for row in record["rows"] if row["kind"] == "step"][:4],
                         [f"step resnet18 {what} bf16 batch {batch}" for what in ("deepipr-v2 last", "pan all") for batch in (64, 512)])
        self.assertEqual(len(rows), len(record["rows"]))
        self.assertIn("15 of 15 comparisons", self.part("steps")["found"])
        self.assertIn("step resnet18 deepipr-v2 last f16 --epilogue-statistics batch 64", rows)
        self.assertEqual(sum("--precision f16 --epilogue-statistics" in call for call in self.calls()), 4)
        self.assertNotIn("compiled AMP bf16", rows["step resnet18 pan all bf16 batch 512"]["peers"])
        self.assertEqual(rows["step alexnet none bf16 batch 512"]["peers"], {})
        asked = re.findall(r"torch step (--model alexnet .*): .*broken", (self.out / "suite.log").read_text())
        self.assertEqual((len(asked), len(set(asked))), (9, 9))  # what ends in an error is not asked again
        training = rows["train resnet18 pan, 2 epochs of CIFAR-10"]
        self.assertEqual(self.part("training")["seconds_to"], {"80%": 2.5, "90%": 5.0, "93%": 5.0, "94%": 5.0})
        self.assertEqual(training["milliseconds"], 5000)
        self.assertIn("| tests | passed |", (self.out / "summary.md").read_text())
        with tarfile.open(self.out / "results.tar.gz") as archive:
            names = {name for name in archive.getnames() if not name.startswith("failed-")}  # of cuDNN, if any, without a GPU
            self.assertEqual(names, {f"{name}.json" for name in PARTS} | {file.name, "summary.md", "suite.log"})
            self.assertEqual(json.load(archive.extractfile(file.name)), record)

    def test_engines_are_timed_where_time_is_measured(self):
        self.suite("--parts", "ceilings|equal|steps")
        engines = (self.box / "engines").read_text().splitlines()  # of the environment and the command line
        self.assertEqual({line for line in engines[1:] if line.startswith(("bench", "train"))},
                         {"bench 1 1", "train 1 -", "bench 4 4"})  # the first tries the device

    def test_ours_and_torch_alternate(self):
        self.suite("--parts", "steps")
        log = (self.out / "suite.log").read_text()
        turns = [line.split("] ")[1].split()[0].split("/")[-1] for line in log.splitlines()
                 if ("bench step" in line or "] torch step" in line) and "deepipr-v2" in line and "resnet18" in line and "--batch 64" in line]
        rounds = [(1, 2), (3, 3), (1, 1)]  # ours and PyTorch's, twice each: bf16; f16 and f32; compiled
        self.assertEqual(turns, [who for ours, theirs in rounds for who in (["passnorm"] * ours + ["torch"] * theirs) * 2])

    def test_steps_tell_how_far_they_came(self):
        self.fault("step_is_slow")
        self.suite("--parts", "steps", "--minutes", "0.4")  # none is begun in the last quarter of a minute
        part = self.part("steps")
        self.assertEqual(part["outcome"], "passed")
        self.assertTrue(0 < part["comparisons"] < 15, part["comparisons"])
        self.assertTrue(part["found"].startswith(f"{part['comparisons']} of 15 comparisons; step resnet18 deepipr-v2"), part["found"])

    def test_the_commit_is_known_without_the_doctor(self):
        self.fault("doctor_hangs")
        self.suite("--parts", "facts", "--minutes", "0.15")
        self.assertIn("doctor: killed", self.part("facts")["found"])
        self.assertEqual(self.record()[1]["commit"], "abcdef012345")

    def test_kernels_that_hang_take_no_other_rows_with_them(self):
        self.fault("large_norms_hang")
        self.suite("--parts", "kernels", "--minutes", "0.25")
        self.assertIn("passnorm was killed", self.part("kernels")["found"])
        rows = {row["name"]: row for row in self.record()[1]["rows"]}
        self.assertEqual(set(rows), {"norm/both/resnet_layer1/bf16 batch 64", "passport/all_pan/resnet18/f32",
                                     "reduce/sum_squares/resnet18/f32", "conv/forward/resnet_layer1/bf16 batch 512"})
        self.assertEqual(rows["passport/all_pan/resnet18/f32"]["peers"]["eager"]["ratio"], 20)

    def test_twenty_steps_come_last(self):
        self.suite("--parts", "tests")
        filters = [line.split()[1].removeprefix("--gtest_filter=") for line in self.calls() if "_cuda_test" in line]
        self.assertEqual(filters[-1], "CudaTrainingFull.*")
        self.assertEqual(self.part("tests")["binaries"]["twenty steps"]["exit"], 0)

    def test_the_example_runs_after_the_tests(self):
        self.write(self.binaries / "tests/examples/cuda_stream", f"#!/bin/sh\necho cuda_stream >>{self.box}/calls\nexit 4\n")
        self.suite("--parts", "tests")
        self.assertEqual(self.calls()[-1], "cuda_stream")
        self.assertEqual(self.part("tests")["found"], "9 tests ran; 1 failed: cuda_stream: exit 4")
        (self.binaries / "tests/examples/cuda_stream").rename(self.binaries / "cuda_stream")
        self.write(self.binaries / "cuda_stream", "#!/bin/sh\n")
        self.suite("--parts", "tests")
        self.assertEqual(self.part("tests")["outcome"], "passed")
        self.assertEqual(self.part("tests")["binaries"]["cuda_stream"], {"run": 1, "failed": [], "exit": 0})

    def test_finds_libraries_in_wheels_and_sanitizes(self):
        self.suite("--parts", "facts|sanitizers")
        self.assertIn(f"{self.box}/site-packages/nvidia/cudnn/lib", self.part("facts")["libraries"].split(":"))
        tools = [line for line in self.calls() if line.startswith("compute-sanitizer")]
        self.assertEqual([line.split()[2] for line in tools], ["memcheck", "racecheck"])
        self.assertEqual(self.part("sanitizers")["memcheck"]["summary"], "0 errors")

    def test_a_part_that_fails_does_not_stop_the_next(self):
        for fault in ("ceilings", "tests", "drift", "noise"):
            self.fault(fault)
        done = self.suite("--parts", "ceilings|tests|equal|repeat|training")
        self.assertEqual(done.returncode, 1)
        self.assertEqual({name: self.part(name)["outcome"] for name in ("ceilings", "tests", "equal", "repeat", "training")},
                         {"ceilings": "failed", "tests": "failed", "equal": "failed", "repeat": "failed", "training": "passed"})
        self.assertIn("exit 70: passnorm: ceilings is broken", self.part("ceilings")["found"])
        self.assertEqual(self.part("tests")["found"], "8 tests ran; 2 failed: Norm.Wrong, Norm.Wrong")
        self.assertEqual(self.part("equal")["largest_relative_difference"], 0.5)
        self.assertIn("| equal | FAILED |", (self.out / "summary.md").read_text())

    def test_of_what_failed_every_word_is_kept(self):
        self.fault("ceilings")
        self.fault("tests")
        self.write(self.out / "failed-9.log", "of an earlier call")
        self.suite("--parts", "tests")
        with tarfile.open(self.out / "results.tar.gz") as archive:
            logs = {name: archive.extractfile(name).read().decode() for name in archive.getnames() if name.startswith("failed-")}
        found = {}
        for program, text in (("passnorm bench ceilings .*\nexit 70", "passnorm: ceilings is broken\n"),
                              ("kernels_cuda_test .*\nexit 1", f"misaligned address {'.' * 50000}\n")):
            found[text], = [name for name, log in logs.items() if re.match(rf"\S+/{program} after .*\n{text}$", log)]
        self.assertNotIn("failed-9.log", logs)
        suite = (self.out / "suite.log").read_text()
        self.assertNotIn("misaligned address", suite)
        for name in found.values():
            self.assertIn(f"; all of it: {name}\n", suite)

    def test_sigterm_keeps_the_rows_of_the_part_at_hand(self):
        self.fault("convolutions_hang")
        process = subprocess.Popen(self.command("gpu_suite", self.out, "--binaries", self.binaries, "--parts", "kernels"),
                                   env=self.environment(), stdout=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        end = time.monotonic() + 60
        while not any("^conv/" in call for call in self.calls()):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=60), 1)
        self.assertIn("norm/both/resnet_layer1/bf16 batch 64", {row["name"] for row in self.record()[1]["rows"]})
        with tarfile.open(self.out / "results.tar.gz") as archive:
            self.assertEqual(json.load(archive.extractfile(self.record()[0].name)), self.record()[1])

    def test_a_test_that_hangs_does_not_hide_the_others(self):
        self.fault("tests_hang")
        self.suite("--parts", "tests", "--minutes", "0.1")
        result = self.part("tests")["binaries"]
        self.assertEqual(result["kernels_cuda_test"], {"run": 2, "failed": ["A.Wrong/2", "A.Slow (did not end)"], "exit": None})
        self.assertEqual(result["convolutions"], {"run": 2, "failed": [], "exit": 0})

    def test_what_a_sanitizer_found_before_it_was_stopped(self):
        self.fault("tests_hang")
        self.suite("--parts", "sanitizers", "--minutes", "0.15")
        self.assertIn("failed", self.part("sanitizers")["outcome"])
        self.assertEqual(self.part("sanitizers")["memcheck"]["summary"], "A.Wrong/2 until time ran out")
        self.fault("sanitizer")
        self.suite("--parts", "sanitizers", "--minutes", "0.15")
        self.assertEqual(self.part("sanitizers")["memcheck"]["summary"],
                         "========= Invalid __global__ read of size 4 bytes until time ran out")

    def test_training_that_is_stopped_keeps_its_epochs(self):
        self.fault("train_hangs_later")
        self.suite("--parts", "training", "--minutes", "0.1")
        self.assertEqual((self.part("training")["outcome"], len(self.part("training")["curve"])), ("failed", 2))
        self.assertIn("after 2 epochs, 5.0 s; passnorm was killed", self.part("training")["found"])
        self.assertEqual([row["kind"] for row in self.record()[1]["rows"]], ["training"])

    def test_pytorch_starts_again(self):
        self.fault("torch_dies")
        self.suite("--parts", "steps")
        rows = {row["name"]: row for row in self.record()[1]["rows"]}
        self.assertEqual(set(rows["step resnet18 deepipr-v2 last bf16 batch 512"]["peers"]),
                         {"as published (TF32)", "channels_last AMP bf16"})
        self.assertEqual(set(rows["step resnet18 none bf16 batch 512"]["peers"]),
                         {"as published (TF32)", "channels_last AMP bf16", "channels_last AMP f16"})

    def test_a_device_that_cannot_be_tried_does_not_stop_the_suite(self):
        self.fault("kernels")
        self.assertEqual(self.suite("--parts", "ceilings|kernels").returncode, 1)
        self.assertEqual([self.part(name)["outcome"] for name in ("ceilings", "kernels")], ["passed", "failed"])

    def test_time_is_kept(self):
        self.fault("train_hangs")
        done = self.suite("--parts", "equal|repeat|kernels", "--minutes", "0.35")
        self.assertEqual(done.returncode, 1)
        for name in ("equal", "repeat"):
            self.assertIn("was killed after", self.part(name)["found"])
        self.assertEqual(self.part("kernels")["outcome"], "passed")  # the others left it its share
        self.assertEqual(self.suite("--parts", "equal", "--minutes", "0.01").returncode, 0)
        self.assertEqual((self.part("equal")["outcome"], self.part("equal")["found"]), ("skipped", "no time left"))

    def test_without_a_gpu(self):
        self.fault("no_gpu")
        done = self.suite()
        self.assertEqual((done.returncode, done.stdout), (4, ""))
        self.assertEqual(done.stderr, "scripts/gpu_suite: none: no NVIDIA driver is installed; --dry runs every part without one\n")
        done = self.suite("--dry")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertTrue(all("--device cpu" in call for call in self.calls() if call.startswith(("train ", "bench step "))))
        self.assertEqual((self.part("sanitizers")["outcome"], self.part("sanitizers")["found"]), ("skipped", "no GPU"))

    def test_takes_an_archive(self):
        with tarfile.open(self.box / "packed.tar.xz", "w:xz") as archive:
            archive.add(self.binaries, ".")
        done = self.run_script("gpu_suite", self.out, "--binaries", self.box / "packed.tar.xz", "--parts", "ceilings|tests")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.part("tests")["binaries"]["kernels_cuda_test"]["run"], 2)

    def test_usage(self):
        self.assertEqual(self.run_script("gpu_suite").returncode, 2)
        done = self.run_script("gpu_suite", self.out, "--binaries", self.box)
        self.assertEqual(done.returncode, 2)
        self.assertIn("passnorm is not there", done.stderr)

    def test_packs_programs_with_their_libraries(self):
        if not BUILD:
            self.skipTest("no build folder")
        build = self.box / "build"
        build.mkdir()
        shutil.copy2(BUILD / "passnorm", build)
        shutil.copy2(BUILD / "passnorm", build / "some_cuda_test")
        shutil.copy2(BUILD / "passnorm", build / "other_test")
        (build / "tests/examples").mkdir(parents=True)
        shutil.copy2(BUILD / "passnorm", build / "tests/examples/cuda_stream")
        done = self.run_script("gpu_suite", "--pack", self.box / "pack", "--binaries", build)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual({f.name for f in (self.box / "pack").iterdir()}, {"passnorm", "some_cuda_test", "cuda_stream", "lib"})
        names = {f.name for f in (self.box / "pack/lib").iterdir()}
        self.assertTrue(any(name.startswith("libdnnl.so") for name in names), names)
        self.assertFalse(any(name.startswith(("libc.so", "ld-linux")) for name in names), names)
        with tarfile.open(self.box / "pack.tar.xz") as archive:
            self.assertIn("./passnorm", archive.getnames())
        version = subprocess.run([self.box / "pack/some_cuda_test", "--version"], capture_output=True, text=True,
                                 env={"LD_LIBRARY_PATH": str(self.box / "pack/lib")})
        self.assertRegex(version.stdout, "^passnorm ")

    # --- scripts/results

    def test_results(self):
        self.assertEqual(self.run_script("results").stdout, "no GPU run is committed yet\n")
        self.suite()
        file, record = self.record()
        done = self.run_script("results", "--add", file)
        self.assertEqual(done.returncode, 0, done.stderr)
        table = self.run_script("results").stdout
        self.assertIn("**NVIDIA H999**", table)
        self.assertIn("copy 1024 MiB 3000 GB/s, matmul bf16 8192 750 TFLOP/s", table)
        self.assertIn("| norm/both/resnet_layer1/bf16 batch 64 | 0.10 ms | 50%, 80% of bytes moved | **60.00** eager (6.00 ms) |", table)
        self.assertIn("| step resnet18 deepipr-v2 last f16 batch 64 | 1.50 ms | 30% | **13.33** as published (TF32) (20.00 ms), ", table)
        self.assertIn("| train resnet18 pan, 2 epochs of CIFAR-10: public 95.00%, passport 80.00% | 5000 ms | - | - |", table)
        older = self.tree / "bench/results/gpu-nvidia-h999-2001-01-01.json"
        older.write_text(json.dumps({**record, "date": "2001-01-01"}))
        self.assertEqual(self.run_script("results").stdout, table)

    def test_results_of_several_calls_are_one_run(self):
        self.suite("--parts", "kernels|training")
        file, record = self.record()
        tables = []
        for calls in ([("kernel", "training")], [("training",), ("kernel",)]):
            shutil.rmtree(self.tree / "bench", ignore_errors=True)
            for kinds in calls:
                file.write_text(json.dumps({**record, "rows": [row for row in record["rows"] if row["kind"] in kinds]}))
                done = self.run_script("results", "--add", file)
                self.assertEqual(done.returncode, 0, done.stderr)
            tables.append(self.run_script("results").stdout)
        self.assertEqual(*tables)
        self.assertIn("| train resnet18", tables[0])
        kept = self.tree / "bench/results" / file.name
        before = kept.read_text()
        row = {**record["rows"][0], "milliseconds": 7.0}
        file.write_text(json.dumps({**record, "rows": [row]}))
        self.assertEqual(self.run_script("results", "--add", file).returncode, 0)
        new, old = json.loads(kept.read_text())["rows"], json.loads(before)["rows"]
        self.assertEqual(new, [row if r["name"] == row["name"] else r for r in old])
        before = kept.read_text()
        file.write_text(json.dumps({**record, "commit": "fedcba987654"}))
        done = self.run_script("results", "--add", file)
        self.assertEqual((done.returncode, done.stdout, len(done.stderr.splitlines())), (2, "", 1))
        self.assertIn(f"of commit fedcba987654, but bench/results/{file.name} is of abcdef012345", done.stderr)
        self.assertEqual(kept.read_text(), before)

    def test_results_refuses_what_is_no_measurement(self):
        self.suite("--parts", "facts|ceilings|kernels")
        file, record = self.record()
        for wrong, why in (({"dry": True}, "a dry run measures nothing"), ({"format": "x"}, "not a passnorm.gpu/1 document"),
                           ({"rows": []}, "without rows"), ({"rows": [{"name": "a", "kind": "step", "milliseconds": 0}]}, "no measurement")):
            file.write_text(json.dumps({**record, **wrong}))
            done = self.run_script("results", "--add", file)
            self.assertEqual((done.returncode, why in done.stderr), (2, True), done.stderr)
        self.assertFalse((self.tree / "bench/results").exists())


class Rules(unittest.TestCase):
    def setUp(self):
        sys.dont_write_bytecode = True
        loader = importlib.machinery.SourceFileLoader("gpu_suite", str(ROOT / "scripts/gpu_suite"))
        self.module = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_suite", loader))
        loader.exec_module(self.module)

    def test_a_step_that_hangs_leaves_time_and_is_not_run_again(self):
        calls = []

        def bench(*arguments, limit):
            precision = arguments[arguments.index("--precision") + 1]
            calls.append((precision, limit))
            if precision == "f16":
                raise self.module.Failed("killed")
            return {"milliseconds": {"median": 1.0}, "ceiling": "", "share": 1, "launches": 1, "peak_mib": 1}

        suite = types.SimpleNamespace(bench=bench, seconds_left=lambda: 100)
        rows, wrong = self.module.one_work(suite, None, ("tiny", "none", "last", 4, ["f16", "f32"], []), rounds=2, count=1)
        self.assertEqual(calls, [("f16", 50), ("f32", 50), ("f32", 50)])
        self.assertEqual(([row["name"] for row in rows], wrong), (["step tiny none f32 batch 4"], ["f16: killed"]))

    def test_of_long_logs_both_ends_are_kept(self):
        self.assertEqual(self.module.clipped(b"12345678", most=4), b"12345678")
        self.assertEqual(self.module.clipped(b"1234xyz5678", most=4), b"1234\n... 3 bytes are left out ...\n5678")

    def test_the_vendors_kernels_are_not_sanitized(self):
        left_out = self.module.SANITIZED_TESTS.partition("-")[2].split(":")
        for file in ("convolution_test.cpp", "gemm_test.cpp"):
            tests = re.findall(r"^TEST(_P)?\((\w+), (\w+)\)", (ROOT / "tests/kernels" / file).read_text(), re.MULTILINE)
            self.assertTrue(tests)
            for of_cases, group, test in tests:
                name = f"Cases/{group}.{test}/0" if of_cases else f"{group}.{test}"
                self.assertTrue(any(fnmatch.fnmatchcase(name, pattern) for pattern in left_out), name)


class Committed(unittest.TestCase):
    def test_readme_shows_the_committed_runs(self):
        table = subprocess.run([sys.executable, "-B", ROOT / "scripts/results"], capture_output=True, text=True)
        self.assertEqual(table.returncode, 0, table.stderr)
        readme = (ROOT / "README.md").read_text()
        if not list((ROOT / "bench/results").glob("gpu-*.json")) and "scripts/results" not in readme:
            self.skipTest("no GPU run is committed, and README.md does not speak of them")
        self.assertTrue(table.stdout.strip() in readme,
                        "README.md: replace its table of GPU runs by the output of scripts/results")


@unittest.skipUnless(BUILD, "no build folder")
class Dry(unittest.TestCase):
    def test_every_part_runs(self):
        with tempfile.TemporaryDirectory() as box:
            done = subprocess.run([sys.executable, "-B", ROOT / "scripts/gpu_suite", box, "--dry", "--binaries", BUILD],
                                  capture_output=True, text=True)
            log = Path(box, "suite.log").read_text()
            self.assertEqual(done.returncode, 0, f"{done.stdout}{done.stderr}{log[-6000:]}")
            outcomes = {name: json.loads(Path(box, f"{name}.json").read_text())["outcome"] for name in PARTS}
            self.assertEqual({name for name, outcome in outcomes.items() if outcome != "passed"}, {"sanitizers"})
            (file,) = Path(box).glob("gpu-*.json")
            self.assertTrue(json.loads(file.read_text())["dry"])


if __name__ == "__main__":
    unittest.main()
