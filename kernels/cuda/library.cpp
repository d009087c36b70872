#include "kernels/cuda/library.hpp"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>

#include "kernels/runtime/check.hpp"

namespace passnorm {

namespace {

// A driver that runs this program runs libraries of its CUDA version; those of the other may want a
// newer one.
constexpr bool kCuda13 = CUDART_VERSION >= 13000;

}  // namespace

const Library::Source Library::kCudnn{"cuDNN 9",
                                      {"libcudnn.so.9"},
                                      "PASSNORM_CUDNN",
                                      kCuda13 ? "nvidia-cudnn-cu13" : "nvidia-cudnn-cu12",
                                      90200};
const Library::Source Library::kCublasLt{"cuBLASLt",
                                         {kCuda13 ? "libcublasLt.so.13" : "libcublasLt.so.12",
                                          kCuda13 ? "libcublasLt.so.12" : "libcublasLt.so.13"},
                                         "PASSNORM_CUBLAS",
                                         kCuda13 ? "nvidia-cublas" : "nvidia-cublas-cu12"};

Library::Library(const Source& source) : source_(source) {
  const char* const set = std::getenv(source.variable);
  const std::string place = set != nullptr ? set : "";
  std::string why;
  for (const char* name : source.files) {
    std::error_code none;
    file_ = place.empty() ? name
            : std::filesystem::is_directory(place, none)
                ? (std::filesystem::path(place) / name).string()
                : place;
    handle_ = dlopen(file_.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return;
    const char* const error = dlerror();
    why += (why.empty() ? "" : "; ") + std::string(error != nullptr ? error : file_);
  }
  fail(Fault::kMachine, source.name, " was not found ",
       place.empty() ? concat("by the loader (LD_LIBRARY_PATH); ", source.variable,
                              " may name its file or folder")
                     : concat("where ", source.variable, " says"),
       ": ", why, "; to get it: pip install ", source.package);
}

void* Library::address(const char* name) const {
  void* const found = dlsym(handle_, name);
  if (found == nullptr)
    fail(Fault::kMachine, source_.name, " in ", file_, " has no ", name,
         ": another version is needed (pip install ", source_.package, ")");
  return found;
}

void Library::check_version(size_t version) const {
  const auto text = [](size_t v) { return concat(v / 10000, ".", v / 100 % 100); };
  if (version < source_.least)
    fail(Fault::kMachine, file_, " has version ", text(version), "; ", text(source_.least),
         " or later is needed: pip install ", source_.package);
}

}  // namespace passnorm
