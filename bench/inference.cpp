#include "bench/inference.hpp"

#include <functional>
#include <optional>

#include "bench/random_images.hpp"
#include "bench/timing.hpp"
#include "models/export.hpp"

namespace passnorm::bench {
namespace {

constexpr int64_t kWarmup = 2, kLeastRounds = 5;

}  // namespace

std::vector<InferenceTimes> time_inference(const InferenceBench& o,
                                           std::shared_ptr<Stream> stream) {
  const ModelOptions options{.norm = o.norm, .plan = PassportPlan::of(o.scheme, o.sites)};
  const auto plain = models::make(o.model, {.norm = o.norm}, stream);
  const auto owned = models::make(o.model, options, stream);
  std::optional<Passport> passport;
  std::optional<OpenPassport> open;
  if (owned->has_branch(Branch::kPassport)) {
    passport = bench_passport(*owned);
    open = owned->open(*passport);
  }
  const bool has_public = owned->has_branch(Branch::kPublic);

  const Tensor x = random_images(*plain, o.batch).x;
  const auto forward = [&](Model& model, Branch branch) {
    Tape tape(*stream, Tape::Mode::kForwardOnly);
    Pass pass{.tape = tape, .mode = Mode::kEvaluate, .passport = open ? &*open : nullptr};
    model.forward(pass, {x, Lanes::only(branch), nullptr}).value.to_host(*stream);
  };

  std::vector<InferenceTimes> times;
  std::vector<std::function<void()>> work;
  const auto add = [&](const char* name, std::function<void()> f) {
    times.push_back({.name = name});
    work.push_back(std::move(f));
  };
  add("plain", [&] { forward(*plain, Branch::kPublic); });
  if (open && has_public) add("public", [&] { forward(*owned, Branch::kPublic); });
  std::unique_ptr<Model> folded;
  if (o.norm == kernels::NormKind::kBatch) {
    folded = models::fold(*owned, has_public ? nullptr : &*passport);
    add("folded", [&] { forward(*folded, Branch::kPublic); });
  }
  if (open) add("passport", [&] { forward(*owned, Branch::kPassport); });

  double total = 0;
  for (int64_t round = -kWarmup;
       o.rounds > 0 ? round < o.rounds : round < kLeastRounds || total < o.seconds; ++round)
    for (size_t k = 0; k < work.size(); ++k) {
      // Nobody always runs behind the same one.
      const size_t i = (k + static_cast<size_t>(round + kWarmup)) % work.size();
      const double seconds = seconds_of(work[i]);
      if (round < 0) continue;
      times[i].seconds.push_back(seconds);
      total += seconds;
    }
  for (InferenceTimes& t : times) {
    t.median = median(t.seconds);
    t.images_per_second = static_cast<double>(o.batch) / t.median;
    std::vector<double> ratios;
    for (size_t i = 0; i < t.seconds.size(); ++i)
      ratios.push_back(times[0].seconds[i] / t.seconds[i]);
    t.ratio = median(ratios);
  }
  return times;
}

}  // namespace passnorm::bench
