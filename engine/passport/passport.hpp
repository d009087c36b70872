// The owner's secret: a pair of keys per site and the signature bits, in a file of its own.
//
//   raw scale[o] = mean over positions of conv(scale key, W)[o], raw shift likewise with the shift
//   key; of a linear layer W key + bias
//   signature: the sign of raw scale[c] is to be bits[c]
//
// Bound bits. What a passport claims is worth something only if its bits could not be chosen after
// seeing the network: anyone can draw a key and write down the signs it happens to give. With a
// text signature
//   bits[site][c] = 2 keyed_bits(k, "passnorm signature v1", site, text, C)[c] - 1
//   (engine/io/crypto.hpp)
// where k is the passport's seed when the keys are random (then they follow from the seed as well):
//   key[site][i]  = 2 u24(keyed_stream_u32(seed, "passnorm key v1", role "/" site, n)[i]) - 1,
//   u24(w) = floor(w / 2^8) / 2^24,
// i counting [C, H, W] row-major and role "scale" or "shift"; and otherwise
//   k = hash256("passnorm keys v1", for every site: name, scale key, shift key as little-endian f32
//   in [C, H, W] order).
#pragma once

#include <functional>
#include <optional>

#include "engine/io/crypto.hpp"
#include "engine/io/file.hpp"
#include "engine/io/safetensors.hpp"
#include "engine/io/seal.hpp"
#include "engine/passport/scheme.hpp"

namespace passnorm {

/// How the bits come about.
struct Signature {
  enum class Kind {
    kText,    ///< derived from key and text: bound, unless the text is empty and names nobody
    kAscii,   ///< the references' form: 8 bits a character from the most significant, the same at
              ///< every site, the rest random
    kRandom,  ///< random
    kFree,    ///< given by whoever made the passport
  };
  Kind kind = Kind::kRandom;
  std::string text = {};

  static Signature from_text(std::string text) { return {Kind::kText, std::move(text)}; }
  static Signature from_ascii(std::string text) { return {Kind::kAscii, std::move(text)}; }
  static Signature random() { return {}; }
};

/// One character after the other, most significant bit first: -1 for 0, +1 for 1. Error(kUsage)
/// unless it is ASCII.
std::vector<int8_t> ascii_bits(std::string_view text);

/// One site's secret.
struct SitePassport {
  Site site;
  SecretVector<float> scale_key;  ///< [C, H, W], as in files; of a linear layer [C]
  SecretVector<float> shift_key;  ///< the same
  SecretVector<int8_t> bits;      ///< [O] of -1 and +1
};

/// A tensor of the model that belongs to the owner: the gate and the passport lane's running
/// statistics. In ordinary memory, as they are in the model.
struct OwnedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};

/// Asks for the passphrase of a sealed file, whose path it gets.
using AskPassphrase = std::function<SecretText(const std::string& path)>;

class Passport {
 public:
  enum class Source { kRandom, kImage, kShuffle, kGiven };

  /// Keys uniform in [-1, 1) from the seed.
  static Passport random(std::span<const Site> sites, const Secret32& seed,
                         const Signature& signature);
  /// The given keys; sites carry keys, and bits only when the signature is kFree.
  static Passport from_keys(std::vector<SitePassport> sites, Source source,
                            const Signature& signature);

  const std::vector<SitePassport>& sites() const { return sites_; }
  Source source() const { return source_; }
  const Signature& signature() const { return signature_; }
  const Secret32& seed() const { return seed_; }
  int64_t bit_count() const;

  /// Whether bits (and random keys) are those that the formulas above give for a text that is not
  /// empty: checked by deriving them again.
  bool bits_bound() const;
  /// The same keys with other bits: free, whatever they were.
  Passport with_bits(const std::vector<std::vector<int8_t>>& bits) const;

  /// What the model needs beside the released file; saved with the keys.
  std::vector<OwnedTensor> lane_state;
  /// Of the network it was made for; in the file by its name.
  const Scheme* scheme = &passnorm::scheme("none");

  /// The bytes of a safetensors file: `site`.skey and .key f32 (scale and shift, the references'
  /// names; [1, C, H, W], of points, which the references keep as [1, C, L], [1, C, 1, L], of a
  /// linear layer [1, C]), .b i8 [O] for every site, the tensors of lane_state, and for random keys
  /// "seed" u8 [32].
  SecretBytes bytes() const;
  /// Error(kInput) that starts with `name` for bytes that are no passport. schemes: a host's own.
  static Passport parse(const std::string& name, SecretBytes bytes,
                        std::span<const Scheme> schemes = {});

  /// bytes(), sealed when there is a passphrase; mode 0600 from the first byte on. A link in the
  /// place of the file is replaced, not followed.
  void save(const std::string& path, const SecretText* passphrase = nullptr,
            SealCost cost = {}) const;
  /// Follows links. Error(kInput) for a file that is no passport. Error(kSecret) for a plain one
  /// whose mode lets others at it, even to change it, and for a sealed one when there is nobody to
  /// ask or the passphrase is wrong. A sealed file may be seen by others: that is what the seal is
  /// for (copies on mail, backups, shares), and its changes show. The file's owner may be another
  /// user, as when root opens it in a container.
  static Passport load(const std::string& path, const AskPassphrase& ask = {},
                       std::span<const Scheme> schemes = {});
  /// The same of a file that was read before.
  static Passport from_file(const std::string& path, SecretFile file, const AskPassphrase& ask = {},
                            std::span<const Scheme> schemes = {});

 private:
  explicit Passport(const Secret32& seed) : seed_(seed) {}
  Secret32 material() const;
  SecretVector<int8_t> derived_bits(const Secret32& material, const Site& site) const;

  std::vector<SitePassport> sites_;
  Source source_ = Source::kRandom;
  Signature signature_;
  Secret32 seed_;
};

/// random | image | shuffle | given
std::string_view name_of(Passport::Source source);

}  // namespace passnorm
