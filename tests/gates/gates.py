"""What nvcc and ptxas say about CUDA kernels, without a GPU. Files named _thrust are left to their library.

A source is compiled to PTX and assembled for every architecture; what was found out is kept in a folder, by the contents of the
source and of the headers it includes, and is not found out again.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ARCHITECTURES = ["80", "90"]
# As cmake/cuda.cmake and CMake's Release have them.
FLAGS = ["-std=c++20", "-O3", "-DNDEBUG", "--expt-relaxed-constexpr", "-DPASSNORM_WITH_CUDA=1"]
REFUSED = ["--warn-on-spills", "--warn-on-local-memory-usage", "--warn-on-double-precision-use"]


def find_nvcc():
    """As cmake/cuda.cmake does; None."""
    toolkit = os.environ.get("CUDA_PATH", "/usr/local/cuda")
    for place in (os.environ.get("CUDACXX"), shutil.which("nvcc"), f"{toolkit}/bin/nvcc"):
        if place and Path(place).exists():
            return Path(place)
    return None


def release(nvcc):
    """Of the toolkit: 13.0"""
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"release (\d+\.\d+)", text)[1]


def included(source, root, seen=None):
    """A source and every header of the project that it includes, however deep."""
    seen = {} if seen is None else seen
    text = source.read_text()
    seen[str(source)] = text
    for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.M):
        for folder in (root, source.parent):
            file = folder / name
            if file.exists() and str(file) not in seen:
                included(file, root, seen)
    return seen


def short_names(mangled):
    """mangled -> kernel<type, ...>, without namespaces and parameters."""
    if not mangled:
        return {}
    plain = subprocess.run(["c++filt"], input="\n".join(mangled), capture_output=True, text=True, check=True).stdout.splitlines()
    return {m: short_name(p) for m, p in zip(mangled, plain)}


def short_name(demangled):
    name = re.sub(r"(?:\w+|\(anonymous namespace\))::", "", demangled)
    depth, end = 0, len(name)
    for i, c in enumerate(name):
        depth += {"<": 1, ">": -1}.get(c, 0)
        if c == "(" and depth == 0:
            end = i
            break
    return name[:end].removeprefix("void ").strip()


def ptx_kernels(ptx):
    """mangled name -> what the PTX of the kernel shows."""
    kernels = {}
    for name, directives, body in re.findall(r"\.entry\s+(\w+)\s*\([^)]*\)\s*((?:\.[^\n{]*\n)*)\s*\{(.*?)\n\}", ptx, re.S):
        accesses = set()
        for operation, modifiers in re.findall(r"\b(ld|st)\.global((?:\.[\w:]+)+)", body):
            count = re.search(r"\.v(\d)\b", modifiers)
            bits = re.search(r"\.[bufs](\d+)$", modifiers)
            accesses.add(f"{operation} {int(count[1] if count else 1) * int(bits[1] if bits else 0)}")
        kernels[name] = {"accesses": sorted(accesses), "launch_bounds": ".maxntid" in directives, "double": ".f64" in body}
    return kernels


def assembled(log):
    """mangled name -> registers, from ptxas -v."""
    registers, name = {}, None
    for line in log.splitlines():
        if entry := re.search(r"Compiling entry function '(\w+)'", line):
            name = entry[1]
        elif (used := re.search(r"Used (\d+) registers", line)) and name:
            registers[name], name = int(used[1]), None
    return registers


def examine(source, architecture, nvcc, root, cache):
    """{"errors": text or "", "kernels": {short name: {"registers", "accesses", "launch_bounds", "double"}}}"""
    texts = included(source, root)
    inputs = [sorted(texts.items()), FLAGS, REFUSED, release(nvcc), Path(__file__).read_text()]
    key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()
    file = cache / f"{source.stem}.{architecture}.json"
    if file.exists() and (kept := json.loads(file.read_text())).get("key") == key:
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    ptx = cache / f"{source.stem}.{architecture}.ptx"
    compiled = subprocess.run([nvcc, *FLAGS, f"-I{root}", f"-I{root}/include", f"-arch=compute_{architecture}", "-ptx", source,
                               "-o", ptx], capture_output=True, text=True)
    found = {"key": key, "errors": "", "kernels": {}}
    if compiled.returncode:
        found["errors"] = compiled.stderr.strip()
    else:
        done = subprocess.run([nvcc.parent / "ptxas", f"-arch=sm_{architecture}", "-O3", "-v", *REFUSED, "--warning-as-error", ptx,
                               "-o", os.devnull], capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if re.search(r"warning|error|fatal", line)]
            found["errors"] = subprocess.run(["c++filt"], input="\n".join(lines), capture_output=True, text=True).stdout.strip()
        else:
            kernels, registers = ptx_kernels(ptx.read_text()), assembled(done.stderr)
            if set(kernels) != set(registers):
                found["errors"] = f"kernels of the PTX {sorted(kernels)}, of ptxas {sorted(registers)}"
            names = short_names(sorted(kernels))
            for mangled, facts in kernels.items():
                found["kernels"][names[mangled]] = {**facts, "registers": registers.get(mangled, 0)}
    ptx.unlink(missing_ok=True)
    partial = file.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(found))
    partial.replace(file)
    return found


def examine_all(sources, nvcc, root, cache):
    """(source, architecture) -> examine(...)"""
    work = [(source, architecture) for source in sources for architecture in ARCHITECTURES]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return dict(zip(work, pool.map(lambda w: examine(*w, nvcc, root, cache), work)))


def table(found, nvcc):
    """The text of registers.txt: one line per kernel and architecture."""
    rows = sorted((source.name, kernel, f"sm_{architecture}", facts["registers"])
                  for (source, architecture), result in found.items() for kernel, facts in result["kernels"].items())
    head = f"# Registers a thread of every kernel, by nvcc {release(nvcc)}. Written by tests/gates/gates_test.py --update.\n"
    return head + "".join(f"{source} {kernel} {architecture} {registers}\n" for source, kernel, architecture, registers in rows)


def read_table(text):
    """(release of nvcc, {(source, kernel, architecture): registers})"""
    rows = {}
    for line in text.splitlines():
        if not line.startswith("#") and line.strip():
            source, rest = line.split(" ", 1)
            kernel, architecture, registers = rest.rsplit(" ", 2)
            rows[source, kernel, architecture] = int(registers)
    return re.search(r"by nvcc (\d+\.\d+)", text)[1], rows
