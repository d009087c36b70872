"""Holds every CUDA kernel to what can be known of it without a GPU: it compiles for every architecture without spills, local
memory or double precision; it states its launch bounds; kernels that stream over tensors access 16 bytes at a time; and none takes
more registers than registers.txt says. Skipped (77), with a line, where there is no nvcc.

usage: gates_test.py ROOT CACHE             the tests
       gates_test.py ROOT CACHE --update    writes registers.txt anew
"""

import re
import sys
import tempfile
import unittest
from pathlib import Path

import gates

ROOT, CACHE = Path(sys.argv.pop(1)).resolve(), Path(sys.argv.pop(1))
TABLE = Path(__file__).parent / "registers.txt"
NVCC = gates.find_nvcc()
UPDATE = f"python3 tests/gates/gates_test.py . {CACHE} --update"
# Kernels that read (ld) or write (st) whole tensors, with the argument that is their vector's width: above 1, they do it 16
# bytes at a time.
STREAMING = [(r"norm_statistics_kernel<\w+, (\d+)", "ld"),
             (r"norm_apply_kernel<\w+, (\d+)", "ld st"),
             (r"norm_backward_reduce_kernel<\w+, (\d+)", "ld"),
             (r"norm_backward_kernel<\w+, (\d+)", "ld st"),
             (r"norm_forward_kernel<\w+, (\d+)", "ld st"),
             (r"norm_backward_once_kernel<\w+, (\d+)", "ld st"),
             (r"norm_pool_forward_kernel<\w+, (\d+)", "ld st"),
             (r"(?:max_pool|global)_\w+_kernel<\w+, (\d+)", "ld st"),
             (r"elementwise_kernel<FillOp<\w+>, (\d+)>", "st"),
             (r"elementwise_kernel<(?!FillOp).*, (\d+)> ", "ld st"),
             (r"(?:sgd_step|adam_step|restore|prune)_kernel<(\d+)", "ld st"),
             (r"update_check_kernel<(\d+)", "ld")]

found = {}


def setUpModule():
    global found
    ours = [f for f in sorted((ROOT / "kernels/cuda").glob("*.cu")) if not f.stem.endswith("_thrust")]
    found = gates.examine_all(ours, NVCC, ROOT, CACHE)


class Gates(unittest.TestCase):
    maxDiff = None

    def kernels(self):
        """(name for a subtest, facts) of every kernel."""
        return [(f"{source.name} {kernel} sm_{architecture}", facts)
                for (source, architecture), result in found.items() for kernel, facts in result["kernels"].items()]

    def test_compiles_without_spills_local_memory_or_double_precision(self):
        self.assertTrue(found)
        for (source, architecture), result in found.items():
            with self.subTest(f"{source.name} sm_{architecture}"):
                self.assertEqual(result["errors"], "")

    def test_every_kernel_states_its_launch_bounds(self):
        for name, facts in self.kernels():
            with self.subTest(name):
                self.assertTrue(facts["launch_bounds"], "__launch_bounds__ is missing")

    def test_no_double_precision_in_ptx(self):
        for name, facts in self.kernels():
            with self.subTest(name):
                self.assertFalse(facts["double"])

    def test_streaming_kernels_access_16_bytes(self):
        for pattern, operations in STREAMING:
            matches = [(name, re.search(rf"\.cu {pattern}", name), facts) for name, facts in self.kernels()]
            vectors = [(name, facts) for name, match, facts in matches if match and int(match[1]) > 1]
            with self.subTest(pattern):
                self.assertTrue(vectors, "no kernel with vectors has such a name")
            for name, facts in vectors:
                for operation in operations.split():
                    with self.subTest(name):
                        self.assertIn(f"{operation} 128", facts["accesses"])

    def test_registers(self):
        release, committed = gates.read_table(TABLE.read_text())
        if release != gates.release(NVCC):
            self.skipTest(f"registers.txt is of nvcc {release}, this is {gates.release(NVCC)}")
        _, measured = gates.read_table(gates.table(found, NVCC))
        self.assertEqual(sorted(set(committed) ^ set(measured)), [], f"rows too many or missing; {UPDATE}")
        grown = {row: (committed[row], now) for row, now in measured.items() if now > committed[row]}
        self.assertEqual(grown, {}, f"(before, now); if it is meant: {UPDATE}")


class Planted(unittest.TestCase):
    """Each gate refuses what it is for."""

    def examine(self, body, launch_bounds="__launch_bounds__(256)"):
        with tempfile.TemporaryDirectory() as box:
            source = Path(box, "planted.cu")
            source.write_text("namespace passnorm {\n"
                              f"template <class T> __global__ void {launch_bounds} planted_kernel(const T* x, T* y, int n) {{ {body} }}\n"
                              "template __global__ void planted_kernel<float>(const float*, float*, int); }\n")
            return gates.examine(source, "90", NVCC, ROOT, Path(box, "cache"))

    def test_what_is_right_passes(self):
        result = self.examine("const int i = blockIdx.x * 256 + threadIdx.x; const float4 v = reinterpret_cast<const float4*>(x)[i];"
                              "reinterpret_cast<float4*>(y)[i] = make_float4(v.x + 1, v.y, v.z, v.w);")
        self.assertEqual(result["errors"], "")
        facts = result["kernels"]["planted_kernel<float>"]
        self.assertEqual((facts["accesses"], facts["launch_bounds"], facts["double"]), (["ld 128", "st 128"], True, False))
        self.assertTrue(4 <= facts["registers"] <= 32, facts)

    def test_spills(self):
        result = self.examine("float v[96]; for (int k = 0; k < 96; ++k) v[k] = x[threadIdx.x + 1024 * k];"
                              "for (int r = 0; r < n; ++r) for (int k = 0; k < 96; ++k) v[k] = v[k] * v[(k + 7) % 96] + x[r];"
                              "for (int k = 0; k < 96; ++k) y[threadIdx.x + 1024 * k] = v[k];", "__launch_bounds__(1024)")
        self.assertRegex(result["errors"], "[Ss]pill")

    def test_local_memory(self):
        result = self.examine("float v[32]; for (int k = 0; k < 32; ++k) v[k * n % 32] = x[k]; y[threadIdx.x] = v[(n + threadIdx.x) % 32];")
        self.assertRegex(result["errors"], "[Ll]ocal memory")

    def test_double_precision(self):
        result = self.examine("y[threadIdx.x] = x[threadIdx.x] * 0.1;")
        self.assertRegex(result["errors"], "[Dd]ouble")

    def test_narrow_accesses_and_missing_launch_bounds_are_seen(self):
        facts = self.examine("y[threadIdx.x] = x[threadIdx.x];", "")["kernels"]["planted_kernel<float>"]
        self.assertEqual((facts["accesses"], facts["launch_bounds"]), (["ld 32", "st 32"], False))


class Names(unittest.TestCase):
    def test_short_names(self):
        name = "void passnorm::kernels::(anonymous namespace)::k<float, (passnorm::kernels::Kind)1, true>(passnorm::A<float>, int)"
        self.assertEqual(gates.short_name(name), "k<float, (Kind)1, true>")
        self.assertEqual(gates.short_name("passnorm::kernels::plain(float*)"), "plain")

    def test_table_reads_what_it_writes(self):
        facts = {"registers": 40}
        result = {(Path("a.cu"), "90"): {"kernels": {"k<float, 2>": facts, "plain": facts}}}
        release, rows = gates.read_table(gates.table(result, NVCC))
        self.assertEqual((release, rows), (gates.release(NVCC), {("a.cu", "k<float, 2>", "sm_90"): 40, ("a.cu", "plain", "sm_90"): 40}))


if __name__ == "__main__":
    if not NVCC:
        print("tests/gates: skipped: no nvcc")
        sys.exit(77)
    if sys.argv[1:] == ["--update"]:
        setUpModule()
        failed = {f"{s.name} sm_{a}": r["errors"] for (s, a), r in found.items() if r["errors"]}
        if failed:
            sys.exit(f"not updated: {failed}")
        TABLE.write_text(gates.table(found, NVCC))
    else:
        unittest.main()
