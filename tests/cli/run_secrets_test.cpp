// Everything that a run writes and prints, but for its passport and checkpoints, holds no secret,
// for every scheme; those two are for the owner only.
#include <sys/stat.h>

#include "tests/cli/program.hpp"
#include "tests/support/passport_secrets.hpp"

namespace passnorm::test {
namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

mode_t mode_of(const fs::path& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 0777;
}

std::string content(const fs::path& path) {
  return std::string(text_of(read_file(path.string(), 1 << 28)));
}

/// The lane's statistics of the first site that are the public lane's too: until the lanes part
/// both branches see the same, and what is released anyway is no secret.
Names released_statistics(const Passport& passport, const std::string& model_file) {
  const SafeTensors model = SafeTensors::open(model_file);
  Names names;
  for (const OwnedTensor& t : passport.lane_state)
    for (const TensorInfo& released : model.tensors())
      if (released.dtype == DType::kF32 && to_f32(released) == t.values) names.insert(t.name);
  return names;
}

void expect_no_secret(const Scheme& scheme, bool sealed) {
  SCOPED_TRACE(scheme.name);
  const TemporaryFolder folder;
  const std::string phrase = folder.path("phrase");
  write_file_atomic(phrase, bytes_of("correct horse battery staple\n"), {.mode = 0600});
  const std::string out = folder.path(std::string(scheme.name));
  std::vector<std::string> arguments = {"train",
                                        "--model",
                                        "tiny",
                                        "--data",
                                        "synthetic:N=40",
                                        "--epochs",
                                        "1",
                                        "--batch",
                                        "10",
                                        "--scheme",
                                        std::string(scheme.name),
                                        "--signature",
                                        "(c) the owner of this network",
                                        "--out",
                                        out};
  if (sealed) arguments.insert(arguments.end(), {"--seal", "--passphrase-file", phrase});
  const Finished trained = passnorm(arguments);
  ASSERT_EQ(trained.code, 0) << trained.err;
  const Passport passport = Passport::load(out + "/owner.passport", [](const std::string&) {
    return SecretText("correct horse battery staple");
  });
  const Names known = released_statistics(passport, out + "/model.safetensors");
  EXPECT_LE(known.size(), 2u) << "mean and variance of one site";
  SecretScan scan;
  add_secrets(scan, passport, known);
  scan.add_bytes("passphrase", "correct horse battery staple");

  size_t searched = 0, kept = 0;
  for (const auto& entry : fs::recursive_directory_iterator(out)) {
    if (!entry.is_regular_file()) continue;
    const std::string name = fs::relative(entry.path(), out).string();
    if (name == "owner.passport" || name.starts_with("checkpoints/")) {
      EXPECT_EQ(mode_of(entry.path()), 0600u) << name;
      if (name == "owner.passport") {
        EXPECT_EQ(scan.find(content(entry.path())).empty(), sealed) << "the search is blind";
      }
      ++kept;
    } else {
      EXPECT_EQ(scan.find(content(entry.path())), Names()) << name;
      ++searched;
    }
  }
  EXPECT_GE(searched, 4u);
  EXPECT_GE(kept, 1u);
  EXPECT_EQ(scan.find(trained.out + trained.err), Names()) << "printed";
  for (const char* json : {"eval", "inspect"}) {
    std::vector<std::string> question = {json, out, "--json"};
    if (std::string_view(json) == "eval")
      question.insert(question.end(), {"--data", "synthetic:N=40", "--passport",
                                       out + "/owner.passport", "--passphrase-file", phrase});
    const Finished answer = passnorm(question);
    EXPECT_EQ(answer.code, 0) << json << ": " << answer.err;
    Names said = scan.find(answer.out + answer.err);
    said.erase("signature");  // the claim, which is made to be shown
    EXPECT_EQ(said, Names()) << json;
  }
}

TEST(RunSecrets, AreInNoFileButTheOwners) { expect_no_secret(scheme("pan"), true); }

TEST(RunSecretsFull, AreInNoFileButTheOwnersForAnyScheme) {
  for (const Scheme& scheme : schemes())
    if (scheme.passport) expect_no_secret(scheme, false);
}

}  // namespace
}  // namespace passnorm::test
