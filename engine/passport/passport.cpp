#include "engine/passport/passport.hpp"

#include <array>
#include <bit>

namespace passnorm {
namespace {

static_assert(std::endian::native == std::endian::little, "keys are hashed as little-endian bytes");

constexpr std::string_view kBitsDomain = "passnorm signature v1";
constexpr std::string_view kFreeBitsDomain = "passnorm random bits v1";

SecretVector<float> random_key(const Secret32& seed, std::string_view role, const Site& site) {
  const SecretVector<uint32_t> words =
      keyed_stream_u32(seed, "passnorm key v1", concat(role, "/", site.name), site.key_size());
  SecretVector<float> key(words.size());
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<float>(words[i] >> 8) * 0x1p-23f - 1;
  return key;
}

SecretVector<int8_t> signs(const SecretVector<uint8_t>& bits) {
  SecretVector<int8_t> out(bits.size());
  for (size_t i = 0; i < bits.size(); ++i) out[i] = bits[i] ? 1 : -1;
  return out;
}

}  // namespace

std::string_view name_of(Passport::Source source) {
  constexpr std::array<std::string_view, 4> names = {"random", "image", "shuffle", "given"};
  return names.at(static_cast<size_t>(source));
}

std::vector<int8_t> ascii_bits(std::string_view text) {
  std::vector<int8_t> bits;
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (code >= 128)
      fail(Fault::kUsage,
           "--signature-ascii takes ASCII characters only; --signature takes any text");
    for (int bit = 7; bit >= 0; --bit) bits.push_back((code >> bit) & 1 ? 1 : -1);
  }
  return bits;
}

SecretVector<int8_t> Passport::derived_bits(const Secret32& material, const Site& site) const {
  const int64_t c = site.channels();
  if (signature_.kind == Signature::Kind::kText)
    return signs(keyed_bits(material, kBitsDomain, {site.name, signature_.text}, c));
  SecretVector<int8_t> bits = signs(keyed_bits(material, kFreeBitsDomain, {site.name}, c));
  if (signature_.kind == Signature::Kind::kAscii) {
    const std::vector<int8_t> given = ascii_bits(signature_.text);
    if (given.size() > bits.size())
      fail(Fault::kUsage, "the signature's ", given.size(), " bits do not fit the ", c,
           " channels of ", site.name, "; use at most ", c / 8, " characters, or --signature");
    std::ranges::copy(given, bits.begin());
  }
  return bits;
}

Secret32 Passport::material() const {
  if (source_ == Source::kRandom) return seed_;
  Hasher hasher("passnorm keys v1");
  for (const SitePassport& s : sites_)
    hasher.add(s.site.name)
        .add(std::as_bytes(std::span(s.scale_key)))
        .add(std::as_bytes(std::span(s.shift_key)));
  return hasher.finish_secret();
}

Passport Passport::random(std::span<const Site> sites, const Secret32& seed,
                          const Signature& signature) {
  PASSNORM_CHECK(signature.kind != Signature::Kind::kFree,
                 "free bits come with from_keys or with_bits");
  Passport p(seed);
  p.signature_ = signature;
  for (const Site& site : sites)
    p.sites_.push_back({site, random_key(seed, "scale", site), random_key(seed, "shift", site),
                        p.derived_bits(seed, site)});
  return p;
}

Passport Passport::from_keys(std::vector<SitePassport> sites, Source source,
                             const Signature& signature) {
  PASSNORM_CHECK(source != Source::kRandom, "random keys come from a seed");
  Passport p{Secret32(std::array<uint8_t, 32>{})};
  p.source_ = source;
  p.signature_ = signature;
  p.sites_ = std::move(sites);
  const Secret32 material = p.material();
  for (SitePassport& s : p.sites_) {
    const auto n = static_cast<size_t>(s.site.key_size());
    PASSNORM_CHECK(s.scale_key.size() == n && s.shift_key.size() == n, "keys of ", s.site.name);
    if (signature.kind != Signature::Kind::kFree) s.bits = p.derived_bits(material, s.site);
    PASSNORM_CHECK(static_cast<int64_t>(s.bits.size()) == s.site.channels(), "bits of ",
                   s.site.name);
  }
  return p;
}

int64_t Passport::bit_count() const {
  int64_t n = 0;
  for (const SitePassport& s : sites_) n += s.site.channels();
  return n;
}

bool Passport::bits_bound() const {
  if (signature_.kind != Signature::Kind::kText || signature_.text.empty()) return false;
  const Secret32 k = material();
  for (const SitePassport& s : sites_) {
    if (s.bits != derived_bits(k, s.site)) return false;
    if (source_ == Source::kRandom && (s.scale_key != random_key(seed_, "scale", s.site) ||
                                       s.shift_key != random_key(seed_, "shift", s.site)))
      return false;
  }
  return true;
}

Passport Passport::with_bits(const std::vector<std::vector<int8_t>>& bits) const {
  Passport p = *this;
  p.signature_ = {Signature::Kind::kFree, ""};
  PASSNORM_CHECK(bits.size() == sites_.size(), bits.size(), " sites of bits");
  for (size_t i = 0; i < bits.size(); ++i) {
    PASSNORM_CHECK(bits[i].size() == p.sites_[i].bits.size(), bits[i].size(), " bits for ",
                   p.sites_[i].site.name);
    std::ranges::copy(bits[i], p.sites_[i].bits.begin());
  }
  return p;
}

}  // namespace passnorm
