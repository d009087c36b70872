#include "engine/io/seal.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace passnorm::fuzz {
namespace {

constexpr size_t kOps = 18, kMem = 26, kHeader = 74;

void put(std::vector<std::byte>& file, size_t at, uint64_t value) {
  std::memcpy(file.data() + at, &value, sizeof value);
}
uint64_t get(const std::vector<std::byte>& file, size_t at) {
  uint64_t value = 0;
  std::memcpy(&value, file.data() + at, sizeof value);
  return value;
}

/// A file from somewhere. Costs that are allowed become the least one: only their check is of
/// interest here, not a second of Argon2.
void open_foreign(std::vector<std::byte> file) {
  if (file.size() >= kHeader) {
    if (get(file, kOps) >= 1 && get(file, kOps) <= 16) put(file, kOps, kLeastSealCost.ops);
    if (get(file, kMem) >= 8192 && get(file, kMem) <= uint64_t{1} << 30)
      put(file, kMem, kLeastSealCost.mem);
  }
  accepts({Fault::kInput, Fault::kSecret}, [&] { unseal("f", file, SecretText("fuzz")); });
}

/// The input is what is sealed, from an odd first byte on behind almost a whole piece; its last
/// four bytes say what is changed then.
void seal_and_change(std::span<const std::byte> input) {
  const SecretText passphrase("fuzz");
  const bool in_pieces = !input.empty() && (input[0] & std::byte{1}) != std::byte{0};
  std::vector<std::byte> plain(in_pieces ? 65536 - 8 : 0);
  plain.insert(plain.end(), input.begin(), input.end());
  std::vector<std::byte> file = seal(plain, passphrase, kLeastSealCost);
  require(std::ranges::equal(unseal("f", file, passphrase), plain), "what was sealed comes back");
  uint32_t change = 0;
  if (input.size() < sizeof change) return;
  std::memcpy(&change, input.data() + input.size() - sizeof change, sizeof change);
  // Near the end where the input says so: there pieces are cut.
  const bool near = (input[0] & std::byte{2}) != std::byte{0};
  const size_t at = file.size() - 1 - (change >> 8) % (near ? 64 : file.size());
  if (at >= kOps && at < kMem + 8) return;  // another cost: open_foreign
  if (const auto flip = static_cast<std::byte>(change & 255); flip != std::byte{0})
    file[at] ^= flip;
  else
    file.resize(at);
  require(!accepts({Fault::kInput, Fault::kSecret}, [&] { unseal("f", file, passphrase); }),
          "a change is noticed");
}

}  // namespace

void run(std::span<const std::byte> input) {
  if (is_sealed(input))
    open_foreign({input.begin(), input.end()});
  else
    seal_and_change(input);
}

}  // namespace passnorm::fuzz
