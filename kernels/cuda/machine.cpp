#include "kernels/runtime/machine.hpp"

#include "kernels/cuda/library.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm {
namespace {

/// function: gives the version.
GpuLibrary look_for(const Library::Source& source, const char* function) {
  GpuLibrary found{.name = source.name};
  try {
    const Library library(source);
    const size_t v = library.function<size_t()>(function)();
    found.file = library.file();
    found.version = concat(v / 10000, ".", v / 100 % 100, ".", v % 100);
    library.check_version(v);
  } catch (const Error& e) {
    found.problem = e.what();
  }
  return found;
}

}  // namespace

std::vector<GpuLibrary> gpu_libraries() {
  return {look_for(Library::kCudnn, "cudnnGetVersion"),
          look_for(Library::kCublasLt, "cublasLtGetVersion")};
}

}  // namespace passnorm
