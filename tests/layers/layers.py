"""Reads every #include of the source tree and prints those that break the order of the floors.

usage: layers.py ROOT     exit 0: none; 1: each on one line, "file:line: #include ...: why"; 2: nothing to read.
"""

import re
import sys
from pathlib import Path

# From the bottom up; a file includes its own floor or a lower one. <passnorm/passnorm.hpp> stands on verify.
FLOORS = ["kernels", "engine", "models", "train", "verify", "passnorm", "bench", "cli", "tests"]
FOLDERS = {"passnorm": "include/passnorm"}  # of floors that lie elsewhere
ENGINE = ["tensor", "io", "autograd", "ops", "nn", "passport"]  # the same rule inside engine/ ...
NEVER = {("engine/io/", "engine/tensor/"),  # ... and these besides
         ("kernels/cpu/", "kernels/cuda/"), ("kernels/cuda/", "kernels/cpu/")}
PRIVATE = {"kernels/cpu/": ("kernels/", "tests/"), "kernels/cuda/": ("kernels/", "tests/")}
UMBRELLA = "passnorm/passnorm.hpp"
GENERATED = {"passnorm/version.hpp"}  # of no floor
# The arrows up: what a kernel's source is for a host compiler, in builds for tests only (PASSNORM_CUDA=EMULATED).
NAMES = "kernels/cuda/gpu.cuh"
UPWARD = {(NAMES, "tests/emulator/cuda_names.hpp"),
          ("kernels/cuda/cooperative.cuh", "tests/emulator/cuda_cooperative.hpp")}

CUDA = r"(cuda|cublas|cudnn|cufft|curand|cooperative_groups|nvtx3/|nvToolsExt|nvml|cub/|thrust/|vector_types|vector_functions)"
# Libraries and their places (beside tests/): a header of none of these and no system header is an error too.
VENDORS = [
    ("oneDNN", r"(oneapi/dnnl/|dnnl)", ["kernels/"]),
    ("CUDA", CUDA, ["kernels/"]),
    ("Highway", r"hwy/", ["kernels/cpu/"]),
    ("MPI", r"mpi\.h$", ["train/distributed/"]),
    ("NCCL", r"nccl\.h$", ["train/distributed/"]),
    ("libjpeg-turbo", r"(jpeglib|turbojpeg)\.h$", ["train/data/"]),
    ("libpng", r"png\.h$", ["train/data/"]),
    ("libarchive", r"archive(_entry)?\.h$", ["train/data/"]),
    ("zstd", r"zstd\.h$", ["train/data/"]),
    ("nlohmann-json", r"nlohmann/", ["engine/io/"]),
    ("libsodium", r"sodium(\.h$|/)", ["engine/io/"]),
    ("OpenSSL", r"openssl/", ["verify/"]),
    ("CLI11", r"CLI/", ["cli/"]),
    ("toml++", r"toml(\+\+/|plusplus/|\.hpp$)", ["cli/"]),
    ("fmt", r"fmt/", ["cli/"]),
    ("Google Benchmark", r"benchmark/", ["bench/"]),
    ("Boost.Context", r"boost/context/", []),
    ("GoogleTest", r"(gtest|gmock)/", []),
    ("RapidCheck", r"rapidcheck", []),
    ("sanitizers", r"sanitizer/", []),
]
SYSTEM = (r"[a-z_0-9]+$"  # the C++ library
          r"|(sys|linux|netinet|arpa|bits)/"
          r"|(unistd|fcntl|dlfcn|poll|signal|sched|pthread|termios|glob|dirent|pwd|ftw|spawn|execinfo|cxxabi|time|errno"
          r"|cpuid|[a-z]*intrin|arm_neon|omp|math|float|stdint|stddef|string|stdlib|stdio|ucontext|malloc|fenv)\.h$")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def includes(file):
    """(line number, bracket, name) of each #include."""
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
        if match := INCLUDE.match(line):
            yield number, match[1], match[2]


def sources(root):
    """Path below the root -> file; headers of include/passnorm under the name they are included by."""
    found = {}
    for floor in FLOORS:
        folder = root / FOLDERS.get(floor, floor)
        for file in sorted(folder.rglob("*")):
            if file.suffix in {".hpp", ".cpp", ".h", ".cu", ".cuh"}:
                found[f"{floor}/{file.relative_to(folder)}"] = file
    return found


def vendor_of(name):
    return next((row for row in VENDORS if re.match(row[1], name)), None)


def ours(name):
    return name.split("/")[0] in FLOORS and "/" in name


def fault_of(path, bracket, name):
    """Why file `path` may not include `name`, or None."""
    if name in GENERATED:
        return None
    if ours(name):
        floor, target = path.split("/")[0], name.split("/")[0]
        if re.match(r"tests/reference/.*\.hpp$", path) and not name.startswith("tests/reference/"):
            return "the reference of the tests includes nothing of ours"
        if FLOORS.index(target) > FLOORS.index(floor) and (path, name) not in UPWARD:
            return f"{floor}/ is below {target}/"
        if bracket == "<" and target != "passnorm":
            return "our own headers are included with quotes"
        if any(path.startswith(a) and name.startswith(b) for a, b in NEVER):
            return "these two never include each other"
        for folder, users in PRIVATE.items():
            if name.startswith(folder) and not path.startswith(users):
                return f"{folder} is behind the contracts of kernels/"
        if floor == target == "engine":
            parts = [p.split("/")[1] for p in (path, name)]
            if parts[0] in ENGINE and (parts[1] not in ENGINE or ENGINE.index(parts[1]) > ENGINE.index(parts[0])):
                return f"engine/{parts[0]}/ is below engine/{parts[1]}"
        return None
    if vendor := vendor_of(name):
        library, _, places = vendor
        return None if path.startswith((*places, "tests/")) else f"{library} belongs to {', '.join(places) or 'tests/'}"
    if bracket == '"':
        return "an include in quotes starts at the root of the repository"
    return None if re.match(SYSTEM, name) else "a library that is in no row of VENDORS (tests/layers/layers.py)"


def not_plain(name, files, seen):
    """The chain from our header `name` to one of a vendor other than CUDA, or None."""
    if name in seen or name not in files:
        return None
    seen.add(name)
    for _, _, inner in includes(files[name]):
        vendor = vendor_of(inner)
        chain = inner if vendor and vendor[0] != "CUDA" else not_plain(inner, files, seen) if ours(inner) else None
        if chain:
            return f"{name} > {chain}"
    return None


def device_faults(file):
    """(line number, line, why) of what the emulator could not watch, or not run at all, in a .cu or .cuh file."""
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
        code = line.split("//")[0].strip()
        if match := re.search(r"\b__shared__\s+(\S+)", code):
            alias = rf"using {re.escape(match[1].split('<')[0])} = (gpu::)?Shared<"
            if "Shared<" not in match[1] and not re.search(alias, file.read_text()):
                yield number, code, "shared memory is a gpu::Shared (poisoned, indices checked) or gpu::dynamic_shared"
        if "<<<" in code:
            yield number, code, "kernels are launched by gpu::launch"


def violations(root):
    files = sources(root)
    found = []
    for path, file in files.items():
        if file.suffix in {".cu", ".cuh"} and path != NAMES and not path.endswith("_thrust.cu"):
            found += [f"{file.relative_to(root)}:{number}: {code}: {why}"
                      for number, code, why in device_faults(file)]
        for number, bracket, name in includes(file):
            fault = fault_of(path, bracket, name)
            if not fault and file.suffix in {".cu", ".cuh"}:
                vendor = vendor_of(name)
                chain = not_plain(name, files, set())
                if vendor and vendor[0] != "CUDA" or chain:
                    fault = f"a {file.suffix} file includes CUDA and plain headers of ours only ({chain or vendor[0]})"
            if not fault and path == UMBRELLA and (chain := not_plain(name, files, set())):
                fault = f"users of the library need no vendor header ({chain})"
            if fault:
                found.append(f'{file.relative_to(root)}:{number}: #include {name}: {fault}')
    return files, found


def main():
    files, found = violations(Path(sys.argv[1]))
    if not any(path.startswith("kernels/") for path in files):
        print(f"layers.py: no sources below {sys.argv[1]}")
        return 2
    print("\n".join(found) if found else f"{len(files)} files: every include runs down")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
