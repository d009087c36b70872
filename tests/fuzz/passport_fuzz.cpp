#include <optional>

#include "engine/passport/passport.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace passnorm::fuzz {
namespace {

SecretBytes secret(const std::vector<std::byte>& bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

void run(std::span<const std::byte> input) {
  std::optional<Passport> passport;
  if (!accepts({Fault::kInput},
               [&] { passport = Passport::parse("f", secret(safetensors_of(input))); }))
    return;
  const SecretBytes written = passport->bytes();
  const Passport again = Passport::parse("f", written);
  require(again.bytes() == written, "a passport is read as it was written");
  require(again.bits_bound() == passport->bits_bound(), "its bits stay bound or free");
}

}  // namespace passnorm::fuzz
