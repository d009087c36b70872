"""Every bench runs, at sizes too small to measure anything, and its one JSON document has its fields.

usage: run_test.py PROGRAM [DEVICE]
"""

import json
import re
import subprocess
import sys
import unittest

PROGRAM = sys.argv.pop(1)
DEVICE = sys.argv.pop(1) if sys.argv[1:] and sys.argv[1] in ("cpu", "cuda") else "cpu"
ON_GPU = DEVICE == "cuda"  # or the emulator


def bench(*arguments):
    done = subprocess.run([PROGRAM, "bench", *arguments, "--device", DEVICE, "--threads", "2", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}: exit {done.returncode}: {done.stderr}"
    return json.loads(done.stdout)


class Run(unittest.TestCase):
    def expect_times(self, milliseconds):
        self.assertEqual(set(milliseconds), {"median", "least", "most"})
        self.assertGreater(milliseconds["least"], 0)
        self.assertLessEqual(milliseconds["least"], milliseconds["median"])
        self.assertLessEqual(milliseconds["median"], milliseconds["most"])

    def test_step(self):
        for scheme, precision in (("none", "f32"), ("pan", "f32"), ("deepipr-v1", "f32"), ("pan", "f16" if ON_GPU else "bf16")):
            with self.subTest(scheme=scheme, precision=precision):
                d = bench("step", "--model", "tiny", "--scheme", scheme, "--precision", precision, "--batch", "8", "--steps", "3",
                          "--stages")
                self.expect_times(d["milliseconds"])
                self.assertEqual((d["scheme"], d["precision"], d["batch"], d["steps"]), (scheme, precision, 8, 3))
                self.assertAlmostEqual(d["images_per_second"], 8e3 / d["milliseconds"]["median"], delta=1e-6 * d["images_per_second"])
                # 2 x outputs x window x filters; the first layer has no gradient of its input, the last two rows per image
                # where both branches run.
                layers = [(1024, 27, 32), (256, 288, 64), (64, 576, 128), (16, 1152, 128)]
                flops = [2 * 8 * outputs * window * filters for outputs, window, filters in layers]
                self.assertEqual(d["flops"], 3 * sum(flops) - flops[0] + (3 * flops[3] if scheme == "pan" else 0))
                self.assertGreater(d["share"] or 1, 0)
                self.assertRegex(d["ceiling"], f"^{'matmul' if ON_GPU else 'multiply-add'} {precision}")
                self.assertTrue(30 < d["launches"] < 300 if ON_GPU else d["launches"] == 0, d["launches"])
                self.assertGreater(d["peak_mib"], 1)
                self.assertGreater(d["peak_resident_mib"], d["peak_mib"])
                stages = d["stages_milliseconds"]
                self.assertEqual(set(stages), {"forward", "backward", "optimizer"})
                self.assertGreater(min(stages["forward"], stages["optimizer"]), 0)
        self.assertEqual(bench("step", "--model", "tiny", "--batch", "2", "--steps", "1")["parameters"], 9 * (3 * 32 + 32 * 64 + 64 * 128 + 128 * 128) + 2 * (32 + 64 + 128 + 128) + 129 * 10)

    def test_inference(self):
        d = bench("inference", "--model", "tiny", "--batch", "4", "--rounds", "2")
        self.assertEqual(set(d["networks"]), {"plain", "public", "folded", "passport"})
        for network in d["networks"].values():
            self.expect_times(network["milliseconds"])
            self.assertEqual(network["rounds"], 2)
        self.assertEqual(d["networks"]["plain"]["speed_of_plain"], 1)

    def test_loader(self):
        d = bench("loader", "--batch", "16", "--seconds", "0")
        self.expect_times(d["milliseconds"])
        self.assertAlmostEqual(d["images_per_second"], 16e3 / d["milliseconds"]["median"], delta=1e-6 * d["images_per_second"])
        self.assertTrue(0 < d["share_of_tiny_step"] < 1, d["share_of_tiny_step"])
        self.assertEqual(d["bytes"], 16 * 3 * 32 * 32 * 5)
        self.assertGreater(d["share_of_copy"], 0)

    def test_every_kernel(self):
        small = ["kernels", "--batch", "2", "--seconds", "0", "--repetitions", "2"]
        names = bench(*small, "--list")
        families = {"conv", "norm", "pool", "elementwise", "gemm", "optimizer", "reduce", "loss", "passport", "augment", "transform"}
        self.assertEqual({name.split("/")[0] for name in names}, families)
        self.assertEqual(len(names), len(set(names)))
        # PointNet's widest layer is left out: it alone takes longer than all others; of the emulator little is asked.
        wanted = "^(norm/[a-z]*/resnet_layer4|passport/(gate|sign|digest|all_d)|loss|augment|pool|gemm|conv/.*layer4/f32)" if ON_GPU else "^(?!.*pointnet_conv3)"
        d = bench(*small, "--filter", wanted)
        self.assertEqual([k["name"] for k in d["kernels"]], [n for n in names if re.search(wanted, n)])
        for k in d["kernels"]:
            with self.subTest(k["name"]):
                if "skipped" in k:
                    self.assertRegex(k["name"], "^conv/.*/bf16$")
                    continue
                self.expect_times(k["milliseconds"])
                self.assertGreater(k["bytes"], 0)
                self.assertEqual("flops" in k, bool(re.match("conv|gemm", k["name"])))
                self.assertEqual(k.get("launches", 0) > 0, ON_GPU)
                if k["share"] is not None:
                    work = k["flops_per_second"] if "flops" in k else k["bytes_per_second"]
                    self.assertAlmostEqual(k["share"], work / d["ceilings"][k["ceiling"]], places=9)

    def test_kernel_work(self):
        d = bench("kernels", "--batch", "2", "--seconds", "0", "--repetitions", "1", "--filter",
                  "^(conv/forward|norm/(forward|backward|both))/resnet_layer4/f32$")
        work = {k["name"].rsplit("/", 2)[0]: k for k in d["kernels"]}
        self.assertEqual(work["conv/forward"]["flops"], 2 * 2 * 16 * 512 * 512 * 9)
        self.assertEqual(work["conv/forward"]["bytes"], 4 * (2 * 2 * 16 * 512 + 512 * 512 * 9))
        self.assertEqual(work["norm/forward"]["bytes"], 4 * 2 * 2 * 16 * 512)
        self.assertEqual(work["norm/both"]["bytes"], 4 * 5 * 2 * 16 * 512)
        self.assertEqual(work["norm/both"]["moved_bytes"], 4 * 8 * 2 * 16 * 512)
        self.assertNotIn("moved_bytes", work["conv/forward"])

    def test_ceilings(self):
        d = bench("ceilings")
        arithmetic = {"matmul f32 128", "matmul bf16 128"} if ON_GPU else {"multiply-add f32", "multiply-add bf16"}
        self.assertLessEqual({"copy 256 KiB", "copy 1 MiB", "copy 256 MiB", *arithmetic}, set(d["ceilings"]))
        self.assertGreater(min(rate for name, rate in d["ceilings"].items() if name.startswith("copy")), 1e8)

    def test_filters_that_find_nothing(self):
        for wrong in ("(", "no_such_kernel"):
            done = subprocess.run([PROGRAM, "bench", "kernels", "--filter", wrong], capture_output=True, text=True)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1)


if __name__ == "__main__":
    unittest.main()
