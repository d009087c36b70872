// Files that are not what they should be: what their tests share.
#pragma once

#include "tests/cli/bad_input.hpp"
#include "tests/cli/bad_safetensors.hpp"

namespace passnorm::test {

using Cases = std::vector<BadCase>;
using Arguments = std::vector<std::string>;

inline constexpr const char* kData = "synthetic:N=80";

class BadFiles : public BadInput {
 protected:
  static Cases models(const std::vector<Damage>& all) {
    Cases cases;
    for (const Damage& d : all)
      cases.push_back({d.what,
                       {"eval", put(concat("model", cases.size()), d.file), "--data", kData},
                       3,
                       d.reason});
    return cases;
  }
  static Cases passports(const std::vector<Damage>& all) {
    Cases cases;
    for (const Damage& d : all)
      cases.push_back({d.what,
                       {"verify", path("model.safetensors"), "--passport",
                        put(concat("passport", cases.size()), d.file)},
                       3,
                       d.reason});
    return cases;
  }
  /// A call that reads data sets: cifar10:FOLDER.
  static Arguments eval_with(const std::string& data) {
    return {"eval", path("model.safetensors"), "--data", data};
  }
  static Arguments train_with_triggers(const std::string& folder) {
    return {"train",      "--model",    "tiny",  "--data",    kData,      "--scheme", "deepipr-v3",
            "--triggers", path(folder), "--out", path("out"), "--epochs", "1"};
  }

  static Cases model_format() {
    const std::string good = text("model.safetensors");
    return models(damages(good, tensor_of(good, ".weight")));
  }
  static Cases passport_format() {
    const std::string good = text("owner.passport");
    return passports(damages(good, tensor_of(good, ".skey")));
  }
  static Cases model_content();
  static Cases passport_content();
  static Cases sealed();
  static Cases trigger_sets();
  static Cases data_sets();
  static Cases wrong_kinds();
};

}  // namespace passnorm::test
