// What tests of bad input share: a case is a call of the program that must be refused, in one line,
// with the right exit code, at once, and without touching a file.
#pragma once

#include <sys/stat.h>

#include <map>
#include <memory>

#include "engine/io/file.hpp"
#include "engine/io/seal.hpp"
#include "models/model_file.hpp"
#include "tests/cli/program.hpp"
#include "tests/support/images.hpp"
#include "tests/support/networks.hpp"

namespace passnorm::test {

struct BadCase {
  std::string what;
  std::vector<std::string> arguments;
  int code = 3;
  std::string reason;         ///< part of the message
  std::string variable = {};  ///< NAME=VALUE of the environment
};

/// Path -> what a write would change.
inline std::map<std::string, std::string> state_of(const std::string& folder) {
  std::map<std::string, std::string> state;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    struct stat s {};
    ::lstat(entry.path().c_str(), &s);
    state[entry.path()] = concat(s.st_ino, ' ', s.st_mode, ' ', s.st_size, ' ', s.st_mtim.tv_sec,
                                 '.', s.st_mtim.tv_nsec);
  }
  return state;
}

/// Sanitizers and unoptimised code are allowed more.
constexpr double kMostSeconds = kOptimised ? 1 : 20;

/// Files that are right, and a place for those that are not.
class BadInput : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    const auto model = models::make("tiny", {.plan = PassportPlan::of("pan", "last")});
    Passport owner = Passport::random(model->sites(), secret(1), Signature::from_text("Alice"));
    models::take_lane_state(*model, owner);
    models::save_released(*model, path("model.safetensors"),
                          {.mean = {0.5f, 0.5f, 0.5f}, .stddev = {0.2f, 0.2f, 0.2f}});
    owner.save(path("owner.passport"));
    const SecretText phrase("open sesame");
    owner.save(path("sealed.passport"), &phrase, kLeastSealCost);
    folder_->write("phrase", "open sesame\n");
    std::filesystem::permissions(path("phrase"), std::filesystem::perms(0600));
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string path(const std::string& name) { return folder_->path(name); }
  static std::string text(const std::string& name) {
    return std::string(text_of(read_file(path(name), 1 << 26)));
  }
  /// Writes a file that nobody else may read; returns its path.
  static std::string put(const std::string& name, const std::string& content) {
    folder_->write(name, content);
    std::filesystem::permissions(path(name), std::filesystem::perms(0600));
    return path(name);
  }

  static void expect_refused(const std::vector<BadCase>& cases) {
    for (const BadCase& c : cases) {
      SCOPED_TRACE(c.what);
      const std::string name = c.variable.substr(0, c.variable.find('='));
      if (!name.empty()) ::setenv(name.c_str(), c.variable.substr(name.size() + 1).c_str(), 1);
      const auto before = state_of(folder_->path());
      const double start = processor_seconds();
      Finished f = passnorm(c.arguments);
      const double seconds = processor_seconds() - start;
      if (!name.empty()) ::unsetenv(name.c_str());
      while (f.err.starts_with("note: ")) f.err.erase(0, f.err.find('\n') + 1);
      EXPECT_TRUE(fails_with(c.code, f));
      EXPECT_CONTAINS(f.err, c.reason);
      EXPECT_TRUE(std::ranges::all_of(f.err, [](char x) {
        return x == '\n' || (x >= 0x20 && x < 0x7f);
      })) << f.err;
      EXPECT_LT(f.err.size(), 2048u);
      EXPECT_LT(seconds, kMostSeconds);
      EXPECT_EQ(state_of(folder_->path()), before) << "a file was written or removed";
    }
  }

  static inline std::unique_ptr<TemporaryFolder> folder_;
};

}  // namespace passnorm::test
