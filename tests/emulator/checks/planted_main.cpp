// Runs planted kernels under every schedule, for a sanitizer to watch.
// usage: planted NAME...     exit 0: right answers, whatever the sanitizer says; 1: a wrong one or
// an error, which is printed
#include <cstdio>

#include "tests/emulator/checks/planted_runs.hpp"
#include "tests/emulator/schedule.hpp"

int main(int argc, char** argv) {
  using namespace passnorm;
  int status = 0;
  CudaStream stream;
  for (int i = 1; i < argc; ++i)
    for (const emulator::Schedule& schedule : emulator::every_schedule()) {
      const emulator::WithSchedule set(schedule);
      try {
        if (planted::runs().at(argv[i])(stream)) continue;
        std::printf("%s: wrong, %s\n", argv[i], schedule.name().c_str());
      } catch (const std::exception& error) {
        std::printf("%s: %s\n", argv[i], error.what());
      }
      status = 1;
    }
  return status;
}
