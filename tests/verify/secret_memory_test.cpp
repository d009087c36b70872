// What a passport leaves in the memory of the process when it is gone: nothing of its keys, its
// seed and what its branch is read from.
#include <malloc.h>

#include <filesystem>

#include "engine/passport/pass.hpp"
#include "models/model_file.hpp"
#include "models/propagate_keys.hpp"
#include "tests/support/files.hpp"
#include "tests/support/memory_scan.hpp"
#include "tests/support/networks.hpp"
#include "train/data/dataset.hpp"
#include "train/data/trigger_binding.hpp"
#include "train/trainer.hpp"
#include "verify/examine.hpp"

namespace passnorm::test {
namespace {

using Found = std::map<std::string, int64_t>;

/// A secret that no test before this one has had.
Secret32 fresh_seed() { return Secret32::random(); }

/// Everything of the passport by which its owner is known, in every form that the program gives it.
void add_secrets(MemoryScan& scan, const Passport& passport) {
  const auto seed = passport.seed().bytes();
  scan.add("seed", std::as_bytes(seed), 1);
  SecretVector<char> hex(65);
  for (size_t i = 0; i < 32; ++i) std::snprintf(hex.data() + 2 * i, 3, "%02x", seed[i]);
  scan.add("seed in hex", std::as_bytes(std::span(hex)).first(64), 1);
  CpuStream stream(1);
  std::vector<Site> sites;
  for (const SitePassport& s : passport.sites()) sites.push_back(s.site);
  const OpenPassport open(stream, passport, sites);
  for (size_t i = 0; i < sites.size(); ++i) {
    const SitePassport& s = passport.sites()[i];
    for (const auto* key : {&s.scale_key, &s.shift_key}) {
      scan.add("key", std::as_bytes(std::span(*key)));
      // In memory order, [H, W, C].
      const kernels::ConvGeometry& g = s.site.geometry;
      SecretVector<float> image(key->size());
      for (int64_t c = 0; c < g.c; ++c)
        for (int64_t p = 0; p < g.h * g.w; ++p)
          image[static_cast<size_t>(p * g.c + c)] = (*key)[static_cast<size_t>(c * g.h * g.w + p)];
      scan.add("key in memory order", std::as_bytes(std::span(image)));
    }
    for (const char* role : {"scale/", "shift/"}) {
      const auto words =
          keyed_stream_u32(passport.seed(), "passnorm key v1", role + s.site.name, 4096);
      scan.add("words of a key", std::as_bytes(std::span(words)));
      const Secret32 stream_key =
          Hasher(passport.seed(), "passnorm key v1").add(role + s.site.name).finish_secret();
      scan.add("stream key", std::as_bytes(stream_key.bytes()), 1);
    }
    // Sixteen of them have only 2^16 values, which bits of other passports have too.
    scan.add("bits", std::as_bytes(std::span(s.bits)), MemoryScan::kPiece, 48);
    scan.add("digest", std::as_bytes(open.digest(i).value.span()));
  }
}

/// Two sites, 256 bits.
std::unique_ptr<Model> network() {
  return models::make("tiny", {.plan = PassportPlan::of("pan", "last")}, network_stream());
}

class SecretMemory : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "AddressSanitizer's own memory is too large to be searched";
#endif
    // What is freed stays in the process, whatever lies around it, and is searched.
    ::mallopt(M_TRIM_THRESHOLD, -1);
  }
};

TEST_F(SecretMemory, ACopyIsFound) {
  MemoryScan scan;
  const auto model = network();
  const auto copies = std::make_unique<std::vector<float>>();
  std::string text;
  {
    const Passport passport =
        Passport::random(model->sites(), fresh_seed(), Signature::from_text("a"));
    add_secrets(scan, passport);
    const Found alive = scan.found();
    EXPECT_TRUE(alive.contains("seed") && alive.contains("key") && alive.contains("bits"));
    EXPECT_FALSE(alive.contains("words of a key") || alive.contains("stream key"))
        << "a dead one on the stack";
    const SecretVector<float>& key = passport.sites()[1].shift_key;
    copies->assign(key.begin(), key.end());
    text = std::string(1001, '.') + to_hex(passport.seed().bytes()) + std::string(1001, '.');
  }
  EXPECT_GT(scan.bytes_scanned(), size_t{1} << 20);
  Found found = scan.found();
  EXPECT_GE(found["key"], 100) << "a copy in use";
  EXPECT_GE(found["seed in hex"], 40);
  EXPECT_FALSE(found.contains("seed"));
  // What is freed is as good as in use: the heap writes its lists into a block's first bytes only.
  copies->clear();
  copies->shrink_to_fit();
  text.clear();
  text.shrink_to_fit();
  found = scan.found();
  EXPECT_GE(found["key"], 100) << "a freed copy";
  EXPECT_GE(found["seed in hex"], 40) << "a freed text";
}

TEST_F(SecretMemory, APassportLeavesNothing) {
  const auto model = network();
  MemoryScan scan;
  {
    Passport passport = Passport::random(model->sites(), fresh_seed(), Signature::from_text("a"));
    add_secrets(scan, passport);
    EXPECT_TRUE(passport.bits_bound());
    const Passport copy = passport;
    std::vector<Passport> grows;
    for (int i = 0; i < 5; ++i) grows.push_back(copy);
    const Passport given =
        Passport::from_keys(passport.sites(), Passport::Source::kGiven, Signature::from_text("b"));
    EXPECT_TRUE(given.bits_bound());
    grows[0] = given;
  }
  EXPECT_EQ(scan.found(), Found());
}

/// Runs f far down the stack, where the calls that follow do not write over what it leaves.
template <class F>
[[gnu::noinline]] void run_deep(F&& f) {
  [[maybe_unused]] volatile char above[size_t{1} << 16];
  above[0] = 0;
  f();
  above[1] = 0;
}

TEST_F(SecretMemory, DerivingLeavesNothingOnTheStack) {
  const auto model = network();
  MemoryScan scan;
  const Secret32 seed = fresh_seed();
  const std::string role = "scale/" + model->sites()[0].name;
  {
    const Passport passport = Passport::random(model->sites(), seed, Signature::from_text("a"));
    add_secrets(scan, passport);
  }
  const auto others = [&] {
    Found found = scan.found();
    found.erase("seed");  // it lives
    return found;
  };
  for (const int64_t n : {1, 16, 17, 100, 1000, 4096}) {
    run_deep([&] { keyed_stream_u32(seed, "passnorm key v1", role, n); });
    EXPECT_EQ(others(), Found()) << n;
  }
  run_deep([&] { keyed_bits(seed, "passnorm signature v1", {role, "a"}, 256); });
  EXPECT_EQ(others(), Found());
  EXPECT_EQ(scan.found()["seed"], 17) << "once, where it lives";
}

/// 64 hexadecimal digits that stand nowhere else.
SecretText fresh_passphrase() {
  SecretText text;
  const Secret32 secret = fresh_seed();
  for (const uint8_t byte : secret.bytes())
    for (const int digit : {byte >> 4, byte & 15}) text.push_back("0123456789abcdef"[digit]);
  return text;
}

TEST_F(SecretMemory, FilesLeaveNothing) {
  const auto model = network();
  const TemporaryFolder folder;
  const std::string plain = folder.path("plain"), sealed = folder.path("sealed");
  MemoryScan scan;
  {
    const Passport passport =
        Passport::random(model->sites(), fresh_seed(), Signature::from_text("a"));
    add_secrets(scan, passport);
    const SecretText passphrase = fresh_passphrase();
    scan.add("passphrase", std::as_bytes(std::span(passphrase.view())), 1);
    passport.save(plain);
    passport.save(sealed, &passphrase, kLeastSealCost);
    EXPECT_EQ(Passport::load(plain).seed(), passport.seed());
    const auto ask = [&](const std::string&) { return passphrase; };
    EXPECT_EQ(Passport::load(sealed, ask).seed(), passport.seed());
    // Refused halfway: the last byte is the authentication of everything before it.
    std::vector<std::byte> bytes = read_file(sealed, 1 << 24);
    bytes.back() ^= std::byte{1};
    write_file_atomic(sealed, bytes);
    refusal(Fault::kSecret, [&] { Passport::load(sealed, ask); });
    std::filesystem::permissions(plain, std::filesystem::perms(0644));
    refusal(Fault::kSecret, [&] { Passport::load(plain); });
    EXPECT_TRUE(scan.found().contains("passphrase"));
  }
  EXPECT_EQ(scan.found(), Found());
}

/// The whole way of a passport: trained into a network, saved, loaded, examined.
TEST_F(SecretMemory, TrainingAndExaminationLeaveNothing) {
  const TemporaryFolder folder;
  const std::string released = folder.path("m"), owner = folder.path("p");
  const train::DataSpec data = train::parse_data_spec("synthetic:N=128");
  const train::Dataset images = train::load(data, train::Split::kTrain);
  const train::Dataset test = train::load(data, train::Split::kTest, 64);
  MemoryScan scan;
  auto model = network();
  {
    Passport passport = Passport::random(model->sites(), fresh_seed(), Signature::from_text("a"));
    add_secrets(scan, passport);
    train::fit(*model, &passport, {.train = images, .test = &test}, {.epochs = 1, .batch = 32});
    models::save_released(*model, released, train::normalisation_of(images));
    models::take_lane_state(*model, passport);
    passport.save(owner);
  }
  EXPECT_EQ(scan.found(), Found()) << "after training; the network and its pool live on";
  {
    const Passport passport = Passport::load(owner);
    const auto suspect = models::load_released(released, &passport, network_stream());
    const verify::Claim claim = verify::examine(
        *suspect.model, passport, {.data = &test, .null_passports = 5, .null_images = 16});
    EXPECT_TRUE(claim.bits_bound);
  }
  EXPECT_EQ(scan.found(), Found()) << "after examination";
}

/// Its keys are what a network computes of pictures.
TEST_F(SecretMemory, APassportOfImagesLeavesNothing) {
  const auto model = network();
  MemoryScan scan;
  {
    const auto stream = std::make_shared<CpuStream>(1);
    const auto pretrained = models::make("tiny", {.seed = 11}, stream);
    unsettle(*pretrained);
    const Passport passport = models::propagate_keys(
        *pretrained, model->sites(),
        {.shift = pictures(*pretrained, 1, 21), .scale = pictures(*pretrained, 1, 22)},
        {.secret = fresh_seed(),
         .signature = Signature::from_text("a"),
         .source = Passport::Source::kImage});
    constexpr size_t kNumbers = 16;
    for (const SitePassport& s : passport.sites())
      for (const auto* key : {&s.scale_key, &s.shift_key})
        for (size_t at = 0; at + kNumbers <= key->size(); at += kNumbers) {
          const auto piece = std::span(*key).subspan(at, kNumbers);
          // Behind ReLU: zeros are no secret.
          if (std::ranges::count(piece, 0.0f) <= 4)
            scan.add("key", std::as_bytes(piece), sizeof(float) * kNumbers,
                     sizeof(float) * kNumbers);
        }
    EXPECT_GE(scan.found()["key"], 100) << "alive";
  }
  EXPECT_EQ(scan.found(), Found());
}

TEST_F(SecretMemory, ATriggerOwnerLeavesNothing) {
  const TemporaryFolder folder;
  const std::string set = folder.path("t"), file = folder.path("t.owner");
  MemoryScan scan;
  {
    const train::TriggerOwner owner{fresh_seed(), "a"};
    scan.add("secret", std::as_bytes(owner.secret.bytes()), 1);
    train::generate_triggers(set, owner, {.count = 5, .side = 8});
    owner.save(file);
    EXPECT_EQ(train::why_unbound(set, 10, train::TriggerOwner::load(file)), "");
    EXPECT_TRUE(scan.found().contains("secret"));
  }
  EXPECT_EQ(scan.found(), Found());
}

}  // namespace
}  // namespace passnorm::test
