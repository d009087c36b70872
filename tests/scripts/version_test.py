"""Checks cmake/write_version.cmake in a small repository of its own.

usage: version_test.py ROOT CMAKE
"""

import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT, CMAKE = Path(sys.argv[1]).resolve(), sys.argv[2]
del sys.argv[1:3]


class Version(unittest.TestCase):
    def setUp(self):
        box = tempfile.TemporaryDirectory()
        self.addCleanup(box.cleanup)
        self.source, self.header = Path(box.name, "source"), Path(box.name, "version.hpp")
        (self.source / "inner").mkdir(parents=True)
        self.file = self.source / "file"
        self.file.write_text("1")

    def git(self, *arguments):
        return subprocess.run(["git", "-C", self.source, "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
                              check=True, capture_output=True, text=True).stdout.strip()

    def commit(self):
        self.git("init", "-q")
        self.git("add", "file")
        self.git("commit", "-qm", "one")

    def written(self, source=None):
        subprocess.run([CMAKE, f"-DSOURCE_DIR={source or self.source}", f"-DTEMPLATE={ROOT}/cmake/version.hpp.in",
                        f"-DOUTPUT={self.header}", "-DVERSION=7.8.9", "-DCOMPILER=Some 1.2", "-DBUILD_TYPE=Debug",
                        "-P", ROOT / "cmake/write_version.cmake"], check=True, capture_output=True)
        return dict(re.findall(r'(\w+) = "(.*)";', self.header.read_text()))

    def test_values(self):
        self.commit()
        self.assertEqual(self.written(), {"kVersion": "7.8.9", "kCommit": self.git("rev-parse", "--short=12", "HEAD"),
                                          "kCompiler": "Some 1.2", "kBuildType": "Debug"})

    def test_changed_files_are_told(self):
        self.commit()
        (self.source / "untracked").write_text("")
        self.assertFalse(self.written()["kCommit"].endswith("+dirty"))
        self.file.write_text("2")
        self.assertEqual(self.written()["kCommit"], self.git("rev-parse", "--short=12", "HEAD") + "+dirty")

    def test_outside_a_repository(self):
        self.assertEqual(self.written()["kCommit"], "unknown")

    def test_before_the_first_commit(self):
        self.git("init", "-q")
        self.assertEqual(self.written()["kCommit"], "unknown")

    def test_copy_inside_another_repository(self):
        self.commit()
        self.assertEqual(self.written(self.source / "inner")["kCommit"], "unknown")

    def test_an_equal_header_is_left_alone(self):
        self.commit()
        self.written()
        before = self.header.stat().st_mtime_ns
        self.written()
        self.assertEqual(self.header.stat().st_mtime_ns, before)


if __name__ == "__main__":
    unittest.main()
