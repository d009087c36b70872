#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>

#include "cli/app.hpp"

namespace {

/// Threads of libgomp that wait for others spin for milliseconds: where another program wants a
/// core, small networks then train twenty times slower. About 30 microseconds cost an idle machine
/// nothing. libgomp reads the variable when it is loaded, before main: the program starts itself
/// once more.
void wait_briefly(char** argv) {
  for (const char* name : {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"})
    if (std::getenv(name)) return;
  setenv("GOMP_SPINCOUNT", "2000", 1);
  execv("/proc/self/exe", argv);  // where that fails, only slower
}

}  // namespace

int main(int argc, char** argv) {
  wait_briefly(argv);
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);  // an open passport must not end up in a core dump
  return passnorm::cli::run(argc, argv);
}
