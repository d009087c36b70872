// Verify, with nothing but the network and the passport: no data, no training.
#include <iostream>
#include <passnorm/passnorm.hpp>

using namespace passnorm;

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: verify_only MODEL PASSPORT\n";
    return 2;
  }
  const Passport passport = Passport::load(argv[2]);
  const auto suspect = models::load_suspect(argv[1], passport, make_stream(Device::cpu()));
  const verify::Claim claim = verify::examine(*suspect.model, passport);
  std::cout << verify::name_of(claim.verdict) << ": " << claim.matched << " of " << claim.total
            << (claim.bits_bound ? " bound" : " free") << " bits, log2 p = " << claim.log2_p
            << ", corrected for the choice of sites " << claim.log2_p + claim.log2_tests << '\n';
  for (const verify::SiteReport& site : claim.sites)
    std::cout << "  " << site.name << ": " << site.matched << " of " << site.total << '\n';
  return claim.verdict == verify::Verdict::kSupported ? 0 : 1;
} catch (const Error& error) {  // one line: what, where, what was expected, what to do
  std::cerr << error.what() << '\n';
  return static_cast<int>(error.fault());
}
