// The one exception type and the checks that throw it. Library code never prints, exits or aborts.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

/// Functions that kernels of both devices call.
#if defined(__CUDACC__)
#define PASSNORM_HOST_DEVICE __host__ __device__
#else
#define PASSNORM_HOST_DEVICE
#endif

namespace passnorm {

/// Why something failed; the value is the exit code of the program.
enum class Fault {
  kUsage = 2,     ///< command line or configuration
  kInput = 3,     ///< a file that is not what it should be
  kMachine = 4,   ///< this machine cannot do it
  kMemory = 5,    ///< out of memory or disk
  kNumerics = 6,  ///< numerics gave up
  kSecret = 7,    ///< a secret is missing or cannot be opened
  kPeer = 8,      ///< another process failed
  kBug = 70,      ///< a broken contract inside the library
  kStopped = 75,  ///< stopped on request, after saving
};

/// One line: what, where, what was expected, what to do.
class Error : public std::runtime_error {
 public:
  Error(Fault fault, const std::string& message) : std::runtime_error(message), fault_(fault) {}
  Fault fault() const { return fault_; }

 private:
  Fault fault_;
};

/// The arguments one after another, as operator<< writes them.
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <class... Parts>
[[noreturn]] void fail(Fault fault, const Parts&... parts) {
  throw Error(fault, concat(parts...));
}

}  // namespace passnorm

/// A contract of the library: PASSNORM_CHECK(n > 0, "rows: ", n).
#define PASSNORM_CHECK(condition, ...)                                                           \
  do {                                                                                           \
    if (!(condition)) [[unlikely]]                                                               \
      ::passnorm::fail(::passnorm::Fault::kBug, __FILE__, ":", __LINE__, ": ", #condition, ": ", \
                       __VA_ARGS__);                                                             \
  } while (false)
