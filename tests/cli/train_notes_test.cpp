// What passnorm train says at its start of claims that could never be supported.
#include "tests/cli/program.hpp"

namespace passnorm::test {
namespace {

/// Four steps.
Finished train(const std::string& out, const Settings& more) {
  return passnorm(with("train",
                       {{"--model", "tiny"},
                        {"--data", "synthetic:N=40"},
                        {"--epochs", "1"},
                        {"--batch", "10"},
                        {"--threads", "1"},
                        {"--out", out}},
                       more));
}

Finished verify(const std::string& run) {
  return passnorm({"verify", run, "--passport", run + "/owner.passport", "--null", "0", "--json"});
}

TEST(TrainNotes, BitsAreTooFewWhereVerifySaysSo) {
  const TemporaryFolder folder;
  const struct {
    const char* sites;
    const char* note;  // empty: none
  } rows[] = {{"conv1",
               "note: 32 bits are too few: even all of them leave log2 p = -32, with 4 bits for "
               "choices of sites -28, above the limit -64"},
              {"conv2", "note: 64 bits are too few"},
              {"conv1,conv2", ""}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.sites);
    const std::string run = folder.path(row.sites);
    const Finished f = train(run, {{"--sites", row.sites}, {"--signature", "(c) Alice"}});
    ASSERT_EQ(f.code, 0) << f.err;
    const bool few = *row.note != '\0';
    EXPECT_CONTAINS(f.err, row.note);
    EXPECT_EQ(f.err.find("too few") != std::string::npos, few) << f.err;
    EXPECT_EQ(verify(run).json()["decidable"], !few);
    const Finished plan = train(run, {{"--sites", row.sites}, {"--dry-run", ""}});
    EXPECT_EQ(plan.out.find("bits are too few") != std::string::npos, few) << plan.out;
  }
}

TEST(TrainNotes, ASignatureIsMissing) {
  const TemporaryFolder folder;
  const struct {
    const char* name;
    Settings settings;
    bool noted;
  } rows[] = {{"alice", {{"--signature", "(c) Alice"}}, false},
              {"nobody", {}, true},
              {"ascii", {{"--signature-ascii", "Alice"}}, false}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const std::string run = folder.path(row.name);
    const Finished f = train(run, row.settings);
    ASSERT_EQ(f.code, 0) << f.err;
    EXPECT_EQ(
        f.err.find("note: without --signature the bits stand for nobody") != std::string::npos,
        row.noted)
        << f.err;
    EXPECT_EQ(verify(run).json()["bits_bound"], row.name == std::string("alice"));
  }
}

/// An ordinary network makes no claim.
TEST(TrainNotes, NoneWithoutAPassport) {
  const TemporaryFolder folder;
  const Finished f = train(folder.path("run"), {{"--scheme", "none"}});
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_EQ(f.err.find("too few"), std::string::npos) << f.err;
  EXPECT_EQ(f.err.find("nobody"), std::string::npos) << f.err;
}

}  // namespace
}  // namespace passnorm::test
