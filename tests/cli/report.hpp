// What tests of passnorm report share: documents as the program writes them, and runs in folders.
#pragma once

#include <map>
#include <regex>
#include <set>

#include "tests/cli/program.hpp"
#include "tests/support/networks.hpp"

namespace passnorm::test {

inline Json accuracy(Json in_public, Json in_passport) {
  return {{"public", std::move(in_public)}, {"passport", std::move(in_passport)}};
}

/// As claim_json() writes it, with two sites that share the bits.
inline Json claim(int64_t matched, Json accuracy_of_branches, const char* verdict = "supported",
                  const std::string& site = "conv3") {
  return {{"verdict", verdict},
          {"bits_bound", verdict == std::string("supported")},
          {"signature", "(c) Alice"},
          {"bits", {{"matched", matched}, {"total", 256}}},
          {"log2_p", -static_cast<double>(matched) / 2},
          {"tests", 1},
          {"log2_tests", 4.0},
          {"threshold_log2", -64.0},
          {"sites",
           {{{"name", site}, {"matched", matched - matched / 2}, {"total", 128}},
            {{"name", "conv4"}, {"matched", matched / 2}, {"total", 128}}}},
          {"accuracy", std::move(accuracy_of_branches)},
          {"null", {{"passports", 0}, {"matched", {{"mean", 0}, {"stddev", 0}, {"most", 0}}}}}};
}

inline Json point(double x, Json owner, Json forger = nullptr) {
  return {{"x", x},
          {"owner", std::move(owner)},
          {"forger", std::move(forger)},
          {"triggers", nullptr},
          {"metrics", Json::object()}};
}

inline Json attack(const char* name, Json points, const std::string& sha256 = "aa",
                   const char* scheme = "pan") {
  return {{"format", "passnorm.attack/1"},
          {"attack", name},
          {"description", "what a thief does"},
          {"source", "a paper"},
          {"settings", {{"rates", "0..1:0.1"}}},
          {"seed", 5},
          {"chain", Json::array()},
          {"model",
           {{"architecture", "tiny"},
            {"scheme", scheme},
            {"norm", "batch"},
            {"classes", 10},
            {"sites", {{{"name", "conv3"}, {"bits", 128}}, {{"name", "conv4"}, {"bits", 128}}}},
            {"sha256", sha256}}},
          {"data", "cifar10:data"},
          {"limit_train", 2000},
          {"limit_test", 1000},
          {"axis", "share of weights pruned"},
          {"points", std::move(points)}};
}

/// The task breaks after 40%, and what comes later does not count.
inline Json prune(const std::string& sha256 = "aa", const char* scheme = "pan") {
  return attack(
      "prune",
      {point(0, claim(256, accuracy(0.8125, 0.8))), point(0.2, claim(255, accuracy(0.79, 0.78))),
       point(0.4, claim(250, accuracy(0.77, 0.7))),
       point(0.6, claim(200, accuracy(0.7, 0.5), "not supported")),
       point(0.8, claim(140, accuracy(0.78, 0.4), "not supported"))},
      sha256, scheme);
}

inline std::string metrics_line(int64_t epoch, double test, double seconds) {
  const Json line = {{"epoch", epoch},
                     {"lr", 0.1},
                     {"loss", accuracy(2.5 / static_cast<double>(epoch), 2.25)},
                     {"sign_loss", 0.5},
                     {"train_accuracy", accuracy(0.25, 0.25)},
                     {"test_accuracy", accuracy(test, test / 2)},
                     {"trigger_accuracy", accuracy(nullptr, nullptr)},
                     {"bits", 0.75},
                     {"sites", {{"conv3", 0.5}, {"conv4", 1.0}}},
                     {"skipped_steps", 0},
                     {"images_per_second", 4000 * seconds},
                     {"seconds", seconds}};
  return line.dump() + "\n";
}

inline Json verification() {
  Json c = claim(256, accuracy(0.8125, 0.79));
  c["null"] = {{"passports", 100},
               {"matched", {{"mean", 127.5}, {"stddev", 8.25}, {"most", 150}}},
               {"accuracy",
                {{"images", 1000},
                 {"owner", 0.7875},
                 {"mean", 0.125},
                 {"best", 0.3475},
                 {"histogram", {31, 62, 4, 3, 0, 0, 0, 0, 0, 0}}}}};
  return c;
}

class Report : public testing::Test {
 protected:
  /// A whole run in a folder; returns the SHA-256 of its model.
  std::string write_run(const std::string& name, const char* scheme = "pan",
                        const char* secret_from = "seed", double seconds = 12.5) {
    const auto model = models::make("tiny", {.plan = PassportPlan::of(scheme)}, network_stream());
    unsettle(*model, std::hash<std::string>()(name));
    folder_.write(name + "/config.toml",
                  concat("model = \"tiny\"\nscheme = \"", scheme,
                         "\"\nnorm = \"batch\"\ndata = \"cifar10:data\"\nepochs = 3\nsecret = \"",
                         secret_from, "\"\nseed = 8675309\n"));
    folder_.write(name + "/metrics.jsonl", metrics_line(1, 0.5, seconds) +
                                               metrics_line(2, 0.625, seconds) +
                                               metrics_line(3, 0.75, seconds));
    folder_.write(name + "/verify.json", verification().dump());
    models::save_released(*model, folder_.path(name + "/model.safetensors"),
                          {{0.5f, 0.5f, 0.5f}, {1.f, 1.f, 1.f}});
    return to_hex(sha256(read_file(folder_.path(name + "/model.safetensors"), 1 << 24)));
  }
  void write(const std::string& name, const Json& json) { folder_.write(name, json.dump()); }
  std::string path(const std::string& name) const { return folder_.path(name); }

  struct Made {
    Finished finished;
    std::string page;
    Json json;
    std::string tables;  ///< of Markdown
  };
  Made report(const std::vector<std::string>& folders, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"report"};
    for (const std::string& f : folders) arguments.push_back(path(f));
    for (const auto& [option, file] :
         {std::pair{"--out", "page.html"}, {"--json", "page.json"}, {"--markdown", "page.md"}})
      arguments.insert(arguments.end(), {option, path(file)});
    arguments.insert(arguments.end(), more.begin(), more.end());
    Made m{passnorm(arguments), {}, {}, {}};
    EXPECT_EQ(m.finished.code, 0) << m.finished.err;
    if (m.finished.code != 0) return m;
    m.page = text_of(read_file(path("page.html"), 1 << 26));
    m.json = parse_json("report", text_of(read_file(path("page.json"), 1 << 26)));
    m.tables = text_of(read_file(path("page.md"), 1 << 26));
    return m;
  }

  TemporaryFolder folder_;
};

/// Every element is closed, in order; every id stands once, and labels name ids that exist.
inline void expect_sound(const std::string& page) {
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>\n"));
  static const std::regex tag("<(/?)([a-zA-Z0-9]+)((?:\\s+[a-zA-Z0-9-]+=\"[^\"<>]*\")*)\\s*(/?)>");
  std::vector<std::string> open;
  std::multiset<std::string> ids;
  std::set<std::string> labels;
  size_t tags = 0;
  for (std::sregex_iterator it(page.begin(), page.end(), tag), end; it != end; ++it, ++tags) {
    const std::string name = (*it)[2], attributes = (*it)[3];
    std::smatch found;
    if (std::regex_search(attributes, found, std::regex("\\bid=\"([^\"]*)\"")))
      ids.insert(found[1]);
    if (std::regex_search(attributes, found, std::regex("aria-labelledby=\"(\\S*) (\\S*)\""))) {
      labels.insert(found[1]);
      labels.insert(found[2]);
    }
    static const std::regex active("\\s(on[a-z]+|src|href|style|xlink)=");
    EXPECT_FALSE(std::regex_search(attributes, active)) << attributes;
    if ((*it)[4] == "/" || name == "meta") continue;
    if ((*it)[1] == "") {
      open.push_back(name);
      continue;
    }
    ASSERT_FALSE(open.empty()) << "</" << name << ">";
    ASSERT_EQ(open.back(), name);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty()) << open.back();
  for (const std::string& id : ids) EXPECT_EQ(ids.count(id), 1u) << id;
  for (const std::string& id : labels) EXPECT_EQ(ids.count(id), 1u) << id;
  // Nothing else looks like markup.
  EXPECT_EQ(static_cast<size_t>(std::ranges::count(page, '<')), tags + 1) << "DOCTYPE and tags";
  for (const char* foreign :
       {"<script", "<img", "<link", "url(", "@import", ">nan", "\"nan", ">-nan"})
    EXPECT_EQ(page.find(foreign), std::string::npos) << foreign;
}

}  // namespace passnorm::test
