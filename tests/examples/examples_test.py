"""The programs of tests/examples do what they say, and README shows the first of them.

usage: examples_test.py ROOT PROGRAM...     those that are built; tests of others do not run
"""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(sys.argv[1]).resolve()
PROGRAMS = {Path(p).name: Path(p).resolve() for p in sys.argv[2:]}
del sys.argv[1:]


def built(*programs):
    return unittest.skipUnless(PROGRAMS.keys() >= set(programs), f"needs {', '.join(programs)}")


class Examples(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_program(self, name, *arguments, code=0):
        """stdout, or stderr where it is to fail."""
        done = subprocess.run([PROGRAMS[name], *arguments], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertEqual(done.stderr if code == 0 else done.stdout, "")
        return done.stdout if code == 0 else done.stderr

    @built("train_and_verify")
    def test_trains_and_verifies(self):
        text = self.run_program("train_and_verify")
        self.assertRegex(text, r"^passnorm \d+\.\d+\.\d+ on (cpu|cuda:0): supported, (2[45]\d) of 256 bits, log2 p = -[12]\d\d")

    @built("train_and_verify", "verify_only", "custom_scheme")
    def test_verifies_alone(self):
        self.run_program("train_and_verify")
        text = self.run_program("verify_only", "released.safetensors", "owner.passport")
        self.assertRegex(text, r"^supported: 2[45]\d of 256 bound bits, log2 p = -[12]\d\d")
        self.assertRegex(text, r"(?m)^  conv4: 1[12]\d of 128$")
        message = self.run_program("verify_only", "owner.passport", "owner.passport", code=3)
        self.assertRegex(message, r"^owner\.passport: .+\n$")

    @built("attack")
    def test_attacks(self):
        lines = self.run_program("attack").splitlines()
        self.assertEqual(len(lines), 3)
        self.assertRegex(lines[0], r"^0 of the weights pruned: accuracy \d\.\d+, supported with 2[45]\d of 256 bits$")
        self.assertRegex(lines[1], r"^0\.5 of the weights pruned: accuracy \d\.\d+, supported with 2[0-5]\d of 256 bits$")
        self.assertRegex(lines[2], r"^1 of the weights pruned: accuracy 0\.\d+, not supported with 0 of 256 bits$")

    @built("custom_scheme", "verify_only")
    def test_has_a_scheme_of_its_own(self):
        self.assertRegex(self.run_program("custom_scheme"), r"^acme-gated: supported, 2[45]\d of 256 bits\n$")
        # Nobody else has the row.
        message = self.run_program("verify_only", "acme.safetensors", "acme.passport", code=3)
        self.assertRegex(message, r'^acme\.passport: unknown scheme "acme-gated"; known: none, .+\n$')

    @built("host_memory")
    def test_uses_the_hosts_memory(self):
        text = self.run_program("host_memory")
        self.assertRegex(text, r"^trained in [1-9]\d* MiB of the host's, [1-9]\d* blocks are with the stream\n0 blocks after it\n$")

    @built("cuda_stream")
    def test_uses_the_hosts_stream(self):
        text = self.run_program("cuda_stream")
        self.assertRegex(text, r"^40 logits; [1-9]\d* blocks are with the stream\n0 blocks after it\n$")


@built("train_and_verify")
class Readme(unittest.TestCase):
    def test_shows_the_first(self):
        program = (ROOT / "tests/examples/train_and_verify.cpp").read_text()
        self.assertLess(len(program.splitlines()), 60)
        self.assertIn(f"```cpp\n{program}```\n", (ROOT / "README.md").read_text(),
                      "README.md: replace its program by tests/examples/train_and_verify.cpp")


if __name__ == "__main__":
    unittest.main()
