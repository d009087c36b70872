#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
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

/// An open passport must not end up in one. The limit holds for files; what a program gets that
/// the system pipes dumps to is chosen by the filter: no memory at all.
void no_core_dumps() {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  if (std::FILE* filter = std::fopen("/proc/self/coredump_filter", "w")) {
    std::fputs("0", filter);
    std::fclose(filter);
  }
}

}  // namespace

int main(int argc, char** argv) {
  wait_briefly(argv);
  no_core_dumps();
  return passnorm::cli::run(argc, argv);
}
