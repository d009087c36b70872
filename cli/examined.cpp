#include "cli/examined.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "engine/io/file.hpp"
#include "models/replaced_layers.hpp"
#include "passnorm/version.hpp"

namespace passnorm::cli {

Examined Examined::open(const ModelArgument& argument, const Machine& machine, As as) {
  constexpr uint64_t kMaxFile = uint64_t{64} << 30;
  PASSNORM_CHECK(as == As::kReleased || !argument.passport.empty(), "a suspect, no passport");
  Examined out;
  if (!argument.passport.empty()) {
    SecretFile secret = read_secret_file(argument.passport, kMaxFile);
    out.passport_sha256 = sha256(secret.bytes);
    out.passport =
        Passport::from_file(argument.passport, std::move(secret), argument.passphrase.asker());
  }
  const std::string file = model_file(argument.path);
  std::vector<std::byte> bytes = read_file(file, kMaxFile);
  out.model_sha256 = sha256(bytes);
  const SafeTensors tensors = SafeTensors::parse(file, std::move(bytes));
  if (as == As::kSuspect) {
    Passport rest = models::without_replaced_layers(*out.passport, tensors);
    for (const SitePassport& s : out.passport->sites())
      if (std::ranges::find(rest.sites(), s.site, &SitePassport::site) == rest.sites().end())
        out.left_out.push_back(s.site.name);
    out.passport = std::move(rest);
  }
  out.loaded = as == As::kSuspect
                   ? models::load_suspect(tensors, *out.passport, machine.stream())
                   : models::load_released(tensors, out.passport ? &*out.passport : nullptr,
                                           machine.stream());
  return out;
}

Json hash_json(const std::optional<Hash256>& hash) {
  return hash ? Json(to_hex(*hash)) : Json(nullptr);
}

Json data_json(const std::string& spec, int64_t limit_test) {
  return spec.empty() ? Json(nullptr) : Json{{"spec", spec}, {"limit_test", limit_test}};
}

Hash256 triggers_hash(const train::TriggerManifest& manifest) {
  return sha256(bytes_of(train::manifest_text(manifest)));
}

Json examined_json(const Examined* network,
                   std::initializer_list<std::pair<const char*, std::optional<Hash256>>> files) {
  Json json = Json::object();
  if (network) {
    const Model& model = *network->loaded.model;
    const ModelOptions& options = model.options();
    json = {{"model_sha256", to_hex(network->model_sha256)},
            {"passport_sha256", hash_json(network->passport_sha256)},
            {"architecture", model.architecture().name},
            {"norm", options.folded ? "folded" : name_of(options.norm)},
            {"scheme", nullptr},
            {"keys", nullptr},
            {"sites_left_out", network->left_out}};
    if (const auto& passport = network->passport) {
      json["scheme"] = passport->scheme->name;
      json["keys"] = name_of(passport->source());
    }
  }
  for (const auto& [name, hash] : files) json[std::string(name) + "_sha256"] = hash_json(hash);
  json["program"] = fmt::format("passnorm {} ({})", kVersion, kCommit);
  return json;
}

}  // namespace passnorm::cli
