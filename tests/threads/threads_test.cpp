// What <passnorm/passnorm.hpp> says of threads. Under ThreadSanitizer (the preset tsan) a race is
// found whatever came of it; else wrong results are.
#include <array>
#include <barrier>
#include <thread>

#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"
#include "train/data/synthetic.hpp"
#include "train/trainer.hpp"
#include "verify/examine.hpp"

namespace passnorm {
namespace {

using test::TemporaryFolder;

/// f(0) .. f(n-1) on threads that begin together; the first failure is thrown here.
template <class F>
void at_once(int n, F&& f) {
  std::vector<std::exception_ptr> failures(static_cast<size_t>(n));
  std::barrier start(n);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < n; ++i)
      threads.emplace_back([&, i] {
        start.arrive_and_wait();
        try {
          f(i);
        } catch (...) {
          failures[static_cast<size_t>(i)] = std::current_exception();
        }
      });
  }
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

/// Two runs that share no setting.
struct Job {
  const char* scheme;
  kernels::NormKind norm;
  DType precision;
};
constexpr std::array kJobs = {Job{"pan", kernels::NormKind::kBatch, DType::kF32},
                              Job{"deepipr-v2", kernels::NormKind::kGroup, DType::kBF16}};

struct Trained {
  std::unique_ptr<Model> model;
  Passport passport;
  int64_t calls = 0;  ///< of callbacks on the thread that called fit

  /// All that the run could change.
  std::vector<std::vector<float>> numbers() const {
    const ParameterSet& set = model->parameters();
    return {set.weights().to_host(model->stream()), set.buffer_arena().to_host(model->stream())};
  }
};

Trained trained(const Job& job, const train::Dataset& data, int64_t epochs = 1) {
  auto model = models::make("tiny", {.norm = job.norm, .plan = PassportPlan::of(job.scheme)},
                            make_stream(Device::cpu(), {.threads = 2}));
  Passport passport =
      Passport::random(model->sites(), test::secret(1), Signature::from_text("threads"));
  Trained out{std::move(model), std::move(passport)};
  const std::thread::id caller = std::this_thread::get_id();
  const auto count = [&] { out.calls += std::this_thread::get_id() == caller; };
  train::fit(*out.model, &out.passport, {data, &data},
             {.epochs = epochs,
              .batch = 16,
              .precision = job.precision,
              .optimizer = {.lr = 0.05f},
              .clip_norm = 2},
             {.epoch = [&](const train::EpochReport&) { count(); },
              .stop = [&] { return count(), false; }});
  return out;
}

train::Dataset pictures(int64_t n) {
  return train::synthetic(train::SyntheticOptions::of_size(n), train::Split::kTrain);
}

/// Two networks trained side by side, on streams of their own and one data set, become what each
/// becomes alone.
TEST(Threads, TrainSideBySide) {
  const train::Dataset data = pictures(64);
  std::vector<std::vector<std::vector<float>>> alone;
  for (const Job& job : kJobs) alone.push_back(trained(job, data).numbers());
  ASSERT_NE(alone[0], alone[1]);
  for (int round = 0; round < 2; ++round)
    at_once(2, [&](int i) {
      const auto k = static_cast<size_t>(i);
      const Trained beside = trained(kJobs[k], data);
      EXPECT_EQ(beside.numbers(), alone[k]) << kJobs[k].scheme;
      EXPECT_EQ(beside.calls, 5) << "four steps and an epoch";
    });
}

std::string text_of(const verify::Claim& claim) {
  std::string text = concat(name_of(claim.verdict), " ", claim.matched, "/", claim.total, " ",
                            claim.bits_bound, " ", claim.log2_p, " ", claim.signature.text, ":");
  for (const int64_t matched : claim.null.matched) text += concat(" ", matched);
  for (const double accuracy : claim.null.accuracy) text += concat(" ", accuracy);
  return text;
}

/// Claims on one pair of files, each thread opening them for itself; and on one passport that all
/// of them read.
TEST(Threads, VerifyTheSameFiles) {
  const TemporaryFolder folder;
  const std::string network = folder.path("m.safetensors"), secret = folder.path("o.passport");
  const train::Dataset data = pictures(320);
  {
    Trained owner = trained(kJobs[0], data, 2);
    models::save_released(*owner.model, network, train::normalisation_of(data));
    models::take_lane_state(*owner.model, owner.passport);
    owner.passport.save(secret);
  }
  const auto examine = [&](const Passport& passport) {
    const auto suspect =
        models::load_released(network, &passport, make_stream(Device::cpu(), {.threads = 1}));
    return text_of(verify::examine(*suspect.model, passport,
                                   {.data = &data, .null_passports = 3, .null_images = 20}));
  };
  const Passport shared = Passport::load(secret);
  const std::string alone = examine(shared);
  EXPECT_TRUE(alone.starts_with("supported ")) << alone;
  at_once(4, [&](int) {
    EXPECT_EQ(examine(Passport::load(secret)), alone);
    EXPECT_EQ(examine(shared), alone);
    EXPECT_TRUE(shared.bytes() == Passport::load(secret).bytes());
  });
}

/// Nothing was used before: what starts itself does so once, whichever thread is first.
TEST(Threads, UseEverythingForTheFirstTime) {
  const TemporaryFolder folder;
  std::array<std::string, 4> bits;
  at_once(4, [&](int i) {
    const auto k = static_cast<size_t>(i);
    const auto model = models::make("tiny", {.plan = PassportPlan::of("pan")},
                                    make_stream(Device::cpu(), {.threads = 1}));
    const Passport passport =
        Passport::random(model->sites(), test::secret(7), Signature::from_text("first"));
    passport.save(folder.path(concat(i, ".passport")));
    const Passport loaded = Passport::load(folder.path(concat(i, ".passport")));
    for (const int8_t bit : loaded.sites().at(0).bits) bits[k] += bit > 0 ? '1' : '0';
    EXPECT_NE(Secret32::random(), Secret32::random());
    EXPECT_EQ(pictures(20).images, pictures(20).images);
    EXPECT_THROW(scheme("unknown"), Error);
    EXPECT_THROW(Passport::load(folder.path("missing")), Error);
    verify::examine(*model, loaded, {.null_passports = 1});
  });
  EXPECT_EQ(bits[0].size(), 128u);
  for (const std::string& other : bits) EXPECT_EQ(other, bits[0]);
}

/// A stream and its memory outlive the thread that made them, and go on another.
TEST(Threads, HandAStreamOn) {
  std::unique_ptr<Model> model;
  std::jthread([&] {
    model = models::make("tiny", {}, make_stream(Device::cpu(), {.threads = 2}));
  }).join();
  const Tensor x = test::pictures(*model, 2);
  std::vector<float> here = test::logits(*model, nullptr, Branch::kPublic, x), there;
  std::jthread([&] { there = test::logits(*model, nullptr, Branch::kPublic, x); }).join();
  EXPECT_TRUE(test::same_numbers(here, there));
  std::jthread([&] { model.reset(); }).join();
}

}  // namespace
}  // namespace passnorm
