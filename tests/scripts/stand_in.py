"""What tests of scripts that call the program share: a copy of scripts/ with stand-ins for the build and the program.

A test that uses it is called with the source tree: NAME_test.py ROOT
"""

import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1)).resolve()
# What the program writes. Each line of the log is one call, other than of "attack --list". In the environment: FAIL, a command that ends with CODE; LEFT, an attack
# that does; STOP, for a training that is interrupted.
PROGRAM = r"""#!/bin/bash
case ${{PASSNORM_THREADS-1}} in *[!0-9]*) exit 2 ;; esac
[ "$*" != "attack --list" ] || exit 0
printf '%q ' "$@" >>"{log}"; echo >>"{log}"
[ "$1" = "${{FAIL-}}" ] && exit "${{CODE-1}}"
for ((i = 1; i <= $#; i++)); do [ "${{!i}}" != --out ] || {{ i=$((i + 1)); out=${{!i}}; }}; done
case $1 in
  train) mkdir -p "$out"; echo >"$out/config.toml"; [ -n "${{STOP-}}" ] && exit 75; echo >"$out/model.safetensors" ;;
  verify) echo '{{}}'; exit 9 ;;
  attack) [ "$2" = "${{LEFT-}}" ] && exit "${{CODE-2}}"
          mkdir -p "$out"; echo >"$out/attack-$2.json"; echo >"$out/attack-$2.safetensors" ;;
  data) mkdir -p "$out"; echo >"$out/manifest.json" ;;
  report) echo page >"$out" ;;
esac
"""


def attacks_of(name):
    """The words of every line of a list of attacks."""
    lines = (ROOT / f"scripts/recipes/{name}.attacks").read_text().splitlines()
    return [line.split() for line in lines if line and not line.startswith("#")]


class ScriptTest(unittest.TestCase):
    def setUp(self):
        self.box = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.box)
        self.tree, self.log = self.box / "tree", self.box / "log"
        shutil.copytree(ROOT / "scripts", self.tree / "scripts")
        for name, text in (("scripts/build", f'#!/bin/bash\necho "build $*" >>"{self.log}"\n'),
                           ("build/release/passnorm", PROGRAM.format(log=self.log))):
            file = self.tree / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755)
        self.log.touch()

    def run_script(self, name, *arguments, **environment):
        self.log.write_text("")
        return subprocess.run([self.tree / "scripts" / name, *arguments], capture_output=True, text=True, cwd=self.box,
                              env={"PATH": "/usr/bin:/bin", **environment})

    def change_attacks(self, name, old, new):
        """In the copy's list, a line."""
        file = self.tree / f"scripts/recipes/{name}.attacks"
        text = file.read_text()
        self.assertEqual(text.count(f"\n{old}\n"), 1, old)
        file.write_text(text.replace(f"\n{old}\n", f"\n{new}\n"))

    def calls(self, command):
        return [words for words in map(shlex.split, self.log.read_text().splitlines()) if words[0] == command]

    @staticmethod
    def value(call, option):
        return call[call.index(option) + 1]
