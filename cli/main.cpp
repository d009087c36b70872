#include <sys/resource.h>

#include "cli/app.hpp"

int main(int argc, char** argv) {
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);  // an open passport must not end up in a core dump
  return passnorm::cli::run(argc, argv);
}
