#include "kernels/runtime/machine.hpp"

#include "kernels/cuda/library.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm {
namespace {

/// function: gives the version, whose major part is counted in units of `unit` and the next in
/// hundreds.
GpuLibrary look_for(const Library::Source& source, const char* function, size_t unit) {
  GpuLibrary found{.name = source.name};
  try {
    const Library library(source);
    const size_t v = library.function<size_t()>(function)();
    found.file = library.file();
    found.version = concat(v / unit, ".", v % unit / 100, ".", v % 100);
  } catch (const Error& e) {
    found.problem = e.what();
  }
  return found;
}

}  // namespace

std::vector<GpuLibrary> gpu_libraries() {
  return {look_for(Library::kCudnn, "cudnnGetVersion", 10000),
          look_for(Library::kCublasLt, "cublasLtGetVersion", 10000)};
}

}  // namespace passnorm
