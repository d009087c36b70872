// What the doctor says of this machine.
#include <sched.h>

#include <chrono>
#include <map>
#include <sstream>

#include "tests/cli/program.hpp"

namespace passnorm::test {
namespace {

std::map<std::string, Json> checks(const Finished& f) {
  std::map<std::string, Json> out;
  const Json json = f.json();
  for (const Json& check : json["checks"]) out[check["name"]] = check;
  return out;
}

TEST(Doctor, TellsWhatThereIs) {
  const auto start = std::chrono::steady_clock::now();
  const Finished f = passnorm({"doctor", "--json"});
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  EXPECT_EQ(f.err, "");
  const Json json = f.json();
  EXPECT_EQ(keys(json), (std::vector<std::string>{"usable", "checks"}));
  EXPECT_EQ(f.code, json["usable"].get<bool>() ? 0 : 4);
  auto found = checks(f);
  for (const char* name :
       {"program", "processor", "cores", "vectors", "GPU", "GPU libs", "training", "threads",
        "memory", "huge pages", "secrets", "libraries", "folder"})
    ASSERT_TRUE(found.contains(name)) << name;
  for (const auto& [name, check] : found) {
    EXPECT_EQ(keys(check), (std::vector<std::string>{"name", "level", "value", "advice", "data"}));
    EXPECT_EQ(check["level"] == "ok", check["advice"].is_null()) << name;
  }
  for (const char* precision : {"f32", "bf16", "f16"})
    EXPECT_EQ(found["training"]["data"]["cpu"][precision], true) << precision;
  EXPECT_EQ(found["memory"]["data"]["total"].get<double>() / 4096,
            static_cast<double>(sysconf(_SC_PHYS_PAGES)));
  EXPECT_CONTAINS(passnorm({"--version"}).out,
                  found["program"]["data"]["commit"].get<std::string>());
  EXPECT_CONTAINS(found["libraries"]["value"].get<std::string>(), "libsodium");
  EXPECT_EQ(found["folder"]["data"]["path"], std::filesystem::current_path().string());
}

TEST(Doctor, SaysItForPeople) {
  const Finished f = passnorm({"doctor"});
  const Finished json = passnorm({"doctor", "--json"});
  EXPECT_EQ(f.code, json.code);
  for (const auto& [name, check] : checks(json))
    EXPECT_CONTAINS("\n" + f.out, "\n" + check["level"].get<std::string>());
  std::istringstream lines(f.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
}

TEST(Doctor, SeesWhatLimitsIt) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  const auto bound = checks(passnorm({"doctor", "--json"}));
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
  EXPECT_EQ(bound.at("cores")["data"]["usable"], 1);
  EXPECT_EQ(checks(passnorm({"doctor", "--json"})).at("cores")["data"]["usable"],
            CPU_COUNT(&before));

  const Variable policy("OMP_WAIT_POLICY", "ACTIVE");
  EXPECT_EQ(checks(passnorm({"doctor", "--json"})).at("threads")["data"]["wait_policy"], "ACTIVE");
  if (CPU_COUNT(&before) < 2) return;
  const Variable limit("OMP_THREAD_LIMIT", "1");
  const auto limited = checks(passnorm({"doctor", "--json"}));
  EXPECT_EQ(limited.at("threads")["level"], "note");
  EXPECT_CONTAINS(limited.at("threads")["advice"].get<std::string>(), "OMP_THREAD_LIMIT");
}

}  // namespace
}  // namespace passnorm::test
