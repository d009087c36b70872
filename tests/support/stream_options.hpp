// How the streams of tests are made.
#pragma once

#include <cstdlib>

#include "kernels/runtime/stream.hpp"

namespace passnorm::test {

/// On a GPU scripts/gpu_suite chooses with PASSNORM_ENGINES, as for the program.
inline StreamOptions stream_options(int threads = 0) {
  StreamOptions options{.threads = threads};
  if (const char* const engines = std::getenv("PASSNORM_ENGINES"))
    options.engines = std::atoi(engines);
  return options;
}

}  // namespace passnorm::test
