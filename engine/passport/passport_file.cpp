// The passport's file.
#include <array>
#include <cmath>
#include <cstring>
#include <set>

#include "engine/io/file.hpp"
#include "engine/io/json.hpp"
#include "engine/io/text.hpp"
#include "engine/passport/passport.hpp"

namespace passnorm {
namespace {

constexpr size_t kMaxName = 200;
constexpr uint64_t kMaxFileBytes = uint64_t{4} << 30;
constexpr std::string_view kSeed = "seed";
constexpr std::string_view kFormat = "passnorm.passport/1";
constexpr std::array<std::string_view, 4> kSignatureKinds = {"text", "ascii", "random", "free"};
constexpr std::array<Passport::Source, 4> kSources = {
    Passport::Source::kRandom, Passport::Source::kImage, Passport::Source::kShuffle,
    Passport::Source::kGiven};

constexpr const char* kLinear = "linear";  // convolutions have no "kind"

std::vector<int64_t> key_shape(const Site& site) {
  const kernels::ConvGeometry& g = site.geometry;
  if (site.kind == Site::Kind::kLinear) return {1, g.c};
  return {1, g.c, g.h, g.w};
}

Json site_json(const Site& s) {
  const kernels::ConvGeometry& g = s.geometry;
  if (s.kind == Site::Kind::kLinear)
    return {{"name", s.name}, {"kind", kLinear}, {"c", g.c}, {"o", g.o}};
  return {{"name", s.name}, {"h", g.h},   {"w", g.w},           {"c", g.c},    {"o", g.o},
          {"kh", g.kh},     {"kw", g.kw}, {"stride", g.stride}, {"pad", g.pad}};
}

/// One metadata value; Error(kInput) when it is missing.
const std::string& required(const SafeTensors& file, const std::string& key) {
  const auto it = file.metadata().find(key);
  if (it == file.metadata().end())
    fail(Fault::kInput, file.name(), ": not a passport of this program: its metadata has no \"",
         key, "\"");
  return it->second;
}

/// Names stand in messages for as long as the passport lives.
void check_name(const SafeTensors& file, const std::string& name) {
  if (name.empty() || printable(name, kMaxName) != name)
    fail(Fault::kInput, file.name(), ": ", quote(name), " is no name: 1 to ", kMaxName,
         " characters of printable ASCII without quotes and backslashes");
}

Site site_of(const SafeTensors& file, const Json& json) {
  Site site;
  if (!json.is_object() || !json.contains("name") || !json["name"].is_string())
    fail(Fault::kInput, file.name(), ": a site of the passport has no name");
  site.name = json["name"];
  check_name(file, site.name);
  if (const auto kind = json.find("kind"); kind != json.end()) {
    if (*kind != kLinear)
      fail(Fault::kInput, file.name(), ": site ", site.name, ": unknown \"kind\"; \"", kLinear,
           "\" was expected");
    site.kind = Site::Kind::kLinear;
  }
  kernels::ConvGeometry& g = site.geometry;
  const std::pair<const char*, int64_t*> fields[] = {
      {"c", &g.c},   {"o", &g.o},   {"h", &g.h},           {"w", &g.w},
      {"kh", &g.kh}, {"kw", &g.kw}, {"stride", &g.stride}, {"pad", &g.pad}};
  const size_t count = site.kind == Site::Kind::kLinear ? 2 : std::size(fields);
  for (const auto& [key, to] : std::span(fields).first(count)) {
    const auto it = json.find(key);
    const int64_t least = std::string_view(key) == "pad" ? 0 : 1;
    if (it == json.end() || !it->is_number_integer() || it->get<int64_t>() < least ||
        it->get<int64_t>() > 1 << 20)
      fail(Fault::kInput, file.name(), ": site ", site.name, ": \"", key,
           "\" must be an integer from ", least, " to ", 1 << 20);
    *to = it->get<int64_t>();
  }
  if (g.h + 2 * g.pad < g.kh || g.w + 2 * g.pad < g.kw)
    fail(Fault::kInput, file.name(), ": site ", site.name,
         ": the kernel is larger than its padded input");
  return site;
}

const TensorInfo& tensor(const SafeTensors& file, const std::string& name, DType dtype,
                         const std::vector<int64_t>& shape) {
  const TensorInfo* t = file.find(name);
  if (!t) fail(Fault::kInput, file.name(), ": the passport has no tensor ", quote(name));
  if (t->dtype != dtype || t->shape != shape)
    fail(Fault::kInput, file.name(), ": tensor ", name,
         " has another type or shape than its site says");
  if (const int64_t bad = count_nonfinite(*t))
    fail(Fault::kInput, file.name(), ": tensor ", name, " holds ", bad,
         " values that are NaN or infinite");
  return *t;
}

}  // namespace

SecretBytes Passport::bytes() const {
  std::vector<TensorEntry> entries;
  Json sites = Json::array();
  for (const SitePassport& s : sites_) {
    sites.push_back(site_json(s.site));
    entries.push_back({s.site.name + ".skey", key_shape(s.site), std::span(s.scale_key)});
    entries.push_back({s.site.name + ".key", key_shape(s.site), std::span(s.shift_key)});
    entries.push_back({s.site.name + ".b", {s.site.channels()}, std::span(s.bits)});
  }
  for (const OwnedTensor& t : lane_state) entries.push_back({t.name, t.shape, std::span(t.values)});
  // A tensor and not metadata: JSON passes through memory that nobody wipes.
  if (source_ == Source::kRandom)
    entries.push_back({std::string(kSeed), {32}, std::span<const uint8_t>(seed_.bytes())});
  const Metadata metadata{
      {"format", std::string(kFormat)},
      {"scheme", std::string(scheme->name)},
      {"sites", dump_json("passport", sites)},
      {"source", std::string(name_of(source_))},
      {"signature_kind", std::string(kSignatureKinds.at(static_cast<size_t>(signature_.kind)))},
      {"signature", signature_.text}};
  return safetensors_secret_bytes(entries, metadata);
}

void Passport::save(const std::string& path, const SecretText* passphrase, SealCost cost) const {
  const SecretBytes plain = bytes();
  if (passphrase)
    write_file_atomic(path, seal(plain, *passphrase, cost), {.mode = 0600});
  else
    write_file_atomic(path, plain, {.mode = 0600});
}

Passport Passport::load(const std::string& path, const AskPassphrase& ask,
                        std::span<const Scheme> schemes) {
  return from_file(path, read_secret_file(path, kMaxFileBytes), ask, schemes);
}

Passport Passport::from_file(const std::string& path, SecretFile file, const AskPassphrase& ask,
                             std::span<const Scheme> schemes) {
  if (!is_sealed(file.bytes)) {
    // What it is comes before its mode.
    Passport passport = parse(path, std::move(file.bytes), schemes);
    if (file.shared)
      fail(Fault::kSecret, path, ": others can read or change this secret; run: chmod 600 ", path);
    return passport;
  }
  if (!ask)
    fail(Fault::kSecret, path, ": is sealed with a passphrase, and there is nobody to ask for it");
  return parse(path, unseal(path, file.bytes, ask(path)), schemes);
}

Passport Passport::parse(const std::string& name, SecretBytes bytes,
                         std::span<const Scheme> schemes) {
  const SafeTensors file = SafeTensors::parse(name, std::move(bytes));
  if (const std::string& format = required(file, "format"); format != kFormat)
    fail(Fault::kInput, name, ": is a ", quote(format), " file; a \"", kFormat,
         "\" file was expected");

  const std::string& source_name = required(file, "source");
  const std::string& kind_name = required(file, "signature_kind");
  const auto source = std::ranges::find(kSources, source_name, [](Source s) { return name_of(s); });
  const auto kind = std::ranges::find(kSignatureKinds, kind_name);
  if (source == kSources.end())
    fail(Fault::kInput, name, ": unknown passport source ", quote(source_name));
  if (kind == kSignatureKinds.end())
    fail(Fault::kInput, name, ": unknown signature kind ", quote(kind_name));

  std::set<std::string, std::less<>> used;
  Passport p{Secret32(std::array<uint8_t, 32>{})};
  if (*source == Source::kRandom) {
    const TensorInfo& seed = tensor(file, std::string(kSeed), DType::kU8, {32});
    p.seed_ = Secret32(std::span<const uint8_t, 32>(
        reinterpret_cast<const uint8_t*>(seed.data.data()), seed.data.size()));
    used.insert(seed.name);
  }
  p.source_ = *source;
  p.signature_ = {static_cast<Signature::Kind>(kind - kSignatureKinds.begin()),
                  required(file, "signature")};
  try {
    p.scheme = &passnorm::scheme(required(file, "scheme"), schemes);
  } catch (const Error& e) {
    if (e.fault() != Fault::kUsage) throw;
    fail(Fault::kInput, name, ": ", e.what());
  }

  const Json sites = parse_json(name + ": metadata \"sites\"", required(file, "sites"));
  if (!sites.is_array() || sites.empty())
    fail(Fault::kInput, name, ": the passport names no sites");
  for (const Json& json : sites) {
    SitePassport s{.site = site_of(file, json), .scale_key = {}, .shift_key = {}, .bits = {}};
    if (used.contains(s.site.name + ".b"))
      fail(Fault::kInput, name, ": site ", s.site.name, " stands twice in the passport");
    const TensorInfo& scale = tensor(file, s.site.name + ".skey", DType::kF32, key_shape(s.site));
    const TensorInfo& shift = tensor(file, s.site.name + ".key", DType::kF32, key_shape(s.site));
    const TensorInfo& bits = tensor(file, s.site.name + ".b", DType::kI8, {s.site.channels()});
    s.scale_key.resize(static_cast<size_t>(scale.size()));
    s.shift_key.resize(static_cast<size_t>(shift.size()));
    to_f32(scale, s.scale_key);
    to_f32(shift, s.shift_key);
    s.bits.resize(bits.data.size());
    std::memcpy(s.bits.data(), bits.data.data(), bits.data.size());
    for (const int8_t bit : s.bits)
      if (bit != 1 && bit != -1)
        fail(Fault::kInput, name, ": tensor ", bits.name, " holds ", static_cast<int>(bit),
             "; bits are -1 or 1");
    for (const TensorInfo* t : {&scale, &shift, &bits}) used.insert(t->name);
    p.sites_.push_back(std::move(s));
  }
  for (const TensorInfo& t : file.tensors())
    if (!used.contains(t.name)) {
      check_name(file, t.name);
      p.lane_state.push_back({t.name, t.shape, to_f32(tensor(file, t.name, DType::kF32, t.shape))});
    }
  return p;
}

}  // namespace passnorm
