// A batch that does not fit: exit 5 with the numbers, and one that does.
#include <regex>

#include "tests/cli/program.hpp"

namespace passnorm::test {
namespace {

TEST(MemoryFull, SaysWhichBatchWouldFit) {
  const TemporaryFolder folder;
  const std::string script = folder.path("limited");
  const char* const program = std::getenv("PASSNORM_PROGRAM");
  ASSERT_NE(program, nullptr);
  write_file_atomic(script,
                    bytes_of(concat("#!/bin/sh\nulimit -v 1600000\nexec '", program, "' \"$@\"\n")),
                    {.mode = 0700});
  const Variable limited("PASSNORM_PROGRAM", script.c_str());
  const auto train = [&](const std::string& batch) {
    return passnorm({"train", "--model", "tiny", "--data", "synthetic:N=4000", "--epochs", "1",
                     "--batch", batch, "--threads", "2", "--limit-test", "50", "--overwrite",
                     "--out", folder.path("run")});
  };
  const Finished f = train("4000");
  EXPECT_EQ(f.code, 5) << f.err;
  EXPECT_EQ(f.out, "");
  for (const char* part : {"out of memory: ", " MiB asked, ", " MiB free, ", " MiB in use, peak "})
    EXPECT_CONTAINS(f.err, part);
  std::smatch found;
  ASSERT_TRUE(std::regex_search(f.err, found, std::regex("about (\\d+) images should fit\n$")))
      << f.err;
  const int64_t fits = std::stoll(found[1]);
  EXPECT_GE(fits, 50);
  EXPECT_LT(fits, 4000);
  const Finished again = train(found[1]);
  EXPECT_EQ(again.code, 0) << again.err;
}

}  // namespace
}  // namespace passnorm::test
