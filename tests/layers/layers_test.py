"""Plants violations in a small tree and checks that layers.py finds each, and nothing else."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).with_name("layers.py")
SOUND = {
    "kernels/runtime/dtype.hpp": "#include <bit>\n#include <sys/mman.h>\n",
    "kernels/norm.hpp": '#include "kernels/runtime/dtype.hpp"\n',
    "kernels/cpu/onednn.hpp": "#include <dnnl.hpp>\n#include <oneapi/dnnl/dnnl.hpp>\n",
    "kernels/cpu/norm.cpp": '#include "kernels/cpu/onednn.hpp"\n#include "hwy/highway.h"\n#include "kernels/norm.hpp"\n',
    "kernels/cuda/norm.cu": '#include <cuda_runtime.h>\n#include "kernels/norm.hpp"\n#include <cub/cub.cuh>\n',
    "kernels/cuda/gpu.cuh": '#include "tests/emulator/cuda_names.hpp"\nextern __shared__ unsigned char bytes[];\nk<<<1, 1>>>();\n',
    "tests/emulator/cuda_names.hpp": "#include <tuple>\n",
    "tests/emulator/fibre.hpp": "#include <boost/context/fiber.hpp>\n",
    "kernels/cuda/pool.cu": '#include "kernels/cuda/gpu.cuh"\n__shared__ gpu::Shared<float, 32> sums;\nusing Last = gpu::Shared<bool, 1>;\n__shared__ Last last;\n'
                              'template <int n>\nusing Tile = gpu::Shared<float, n * n>;\n__shared__ Tile<8> x, y;\n',
    "kernels/runtime/stream.cpp": '#include "kernels/cpu/onednn.hpp"\n',
    "engine/tensor/tensor.hpp": '#include "kernels/norm.hpp"\n',
    "engine/io/json.cpp": "#include <nlohmann/json.hpp>\n#include <sodium.h>\n",
    "engine/nn/module.cpp": '#include "engine/tensor/tensor.hpp"\n',
    "engine/engine.hpp": '#include "engine/nn/module.hpp"\n',
    "verify/examine.hpp": '#include "engine/engine.hpp"\n#include "passnorm/version.hpp"\n',
    "include/passnorm/passnorm.hpp": '#include "verify/examine.hpp"\n',
    "bench/step.cpp": "#include <benchmark/benchmark.h>\n#include <passnorm/passnorm.hpp>\n",
    "cli/main.cpp": '#include <CLI/CLI.hpp>\n#include <fmt/format.h>\n#include "bench/step.hpp"\n',
    "tests/cli/main_test.cpp": '#include <gtest/gtest.h>\n#include "cli/main.hpp"\n#include "kernels/cpu/onednn.hpp"\n',
    "tests/reference/norm.hpp": "#include <vector>\n",
    "tests/reference/reference_test.cpp": '#include "tests/support/fill.hpp"\n',
    "engine/io/json.hpp": "#include <nlohmann/json.hpp>\n",
}
PLANTED = [
    ("upward arrow", "kernels/runtime/shape.hpp", '#include "engine/tensor/tensor.hpp"'),
    ("upward arrow, spaces", "models/resnet.cpp", '  #  include "train/trainer.hpp"'),
    ("upward arrow to tests", "cli/run.cpp", '#include "tests/support/random.hpp"'),
    ("bench is above verify", "verify/report.cpp", '#include "bench/step.hpp"'),
    ("umbrella in a floor", "train/trainer.cpp", "#include <passnorm/passnorm.hpp>"),
    ("ops above autograd", "engine/autograd/tape.cpp", '#include "engine/ops/norm.hpp"'),
    ("io above tensor", "engine/tensor/tensor.cpp", '#include "engine/io/json.hpp"'),
    ("io includes tensor", "engine/io/safetensors.cpp", '#include "engine/tensor/tensor.hpp"'),
    ("engine.hpp in engine", "engine/ops/norm.cpp", '#include "engine/engine.hpp"'),
    ("cpu includes cuda", "kernels/cpu/gemm.cpp", '#include "kernels/cuda/gpu.cuh"'),
    ("cuda includes cpu", "kernels/cuda/gemm.cpp", '#include "kernels/cpu/onednn.hpp"'),
    ("past the contracts", "engine/ops/gemm.cpp", '#include "kernels/cpu/onednn.hpp"'),
    ("oneDNN in engine", "engine/ops/convolution.cpp", "#include <dnnl.hpp>"),
    ("CUDA in engine", "engine/tensor/copy.cpp", "#include <cuda_runtime.h>"),
    ("Highway outside kernels/cpu", "kernels/reduce.hpp", '#include "hwy/highway.h"'),
    ("JSON outside engine/io", "verify/certificate.cpp", "#include <nlohmann/json.hpp>"),
    ("libsodium in cli", "cli/keygen.cpp", "#include <sodium.h>"),
    ("fmt below cli", "train/log.cpp", "#include <fmt/format.h>"),
    ("PNG outside train/data", "train/image.cpp", "#include <png.h>"),
    ("GoogleTest in the library", "engine/nn/check.cpp", "#include <gtest/gtest.h>"),
    ("a library of no row", "engine/nn/map.cpp", "#include <boost/unordered_map.hpp>"),
    ("relative to the file", "models/alexnet.cpp", '#include "builder.hpp"'),
    ("our header in brackets", "models/pointnet.cpp", "#include <engine/tensor/tensor.hpp>"),
    ("reference includes ours", "tests/reference/gemm.hpp", '#include "kernels/norm.hpp"'),
    ("vendor in a .cu", "kernels/cuda/gemm.cu", "#include <fmt/format.h>"),
    ("another arrow to the emulator", "kernels/cuda/block.cuh", '#include "tests/emulator/cuda_names.hpp"'),
    ("gpu.cuh to another file of tests", "kernels/cuda/gpu.cuh", '#include "tests/emulator/queue.hpp"'),
    ("Boost outside the emulator", "kernels/runtime/fibre.cpp", "#include <boost/context/fiber.hpp>"),
    ("a shared array as it comes", "kernels/cuda/sum.cu", "__shared__ float sums[32];"),
    ("a launch as nvcc has it", "kernels/cuda/sum.cu", "kernel<<<1, 32>>>(x);"),
    ("oneDNN in a .cu", "kernels/cuda/pooling.cu", "#include <dnnl.hpp>"),
    ("a header in a .cu that is not plain", "kernels/cuda/loss.cu", '#include "kernels/runtime/vendor.hpp"'),
]


class Layers(unittest.TestCase):
    def run_on(self, tree):
        with tempfile.TemporaryDirectory() as root:
            for path, text in tree.items():
                file = Path(root, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            return subprocess.run([sys.executable, SCRIPT, root], capture_output=True, text=True)

    def test_sound_tree_passes(self):
        result = self.run_on(SOUND)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_each_planted_violation_is_found(self):
        helper = {"kernels/runtime/vendor.hpp": "#include <dnnl.hpp>\n"}  # sound itself: only a .cu may not use it
        self.assertEqual(self.run_on(SOUND | helper).returncode, 0)
        for what, path, line in PLANTED:
            with self.subTest(what):
                result = self.run_on(SOUND | helper | {path: f"#pragma once\n{line}\n"})
                lines = result.stdout.splitlines()
                self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
                self.assertEqual(len(lines), 1, result.stdout)
                self.assertTrue(lines[0].startswith(f"{path}:2: "), lines[0])

    def test_vendor_header_behind_the_umbrella_is_found(self):
        result = self.run_on(SOUND | {"verify/examine.hpp": '#include "engine/io/json.hpp"\n'})
        self.assertEqual(result.returncode, 1)
        self.assertIn("verify/examine.hpp > engine/io/json.hpp > nlohmann/json.hpp", result.stdout)

    def test_empty_tree_is_no_success(self):
        self.assertEqual(self.run_on({}).returncode, 2)


if __name__ == "__main__":
    unittest.main()
