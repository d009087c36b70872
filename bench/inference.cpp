#include "bench/inference.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>

#include "kernels/runtime/random.hpp"
#include "models/export.hpp"

namespace passnorm::bench {
namespace {

constexpr int64_t kWarmup = 2, kLeastRounds = 5;

double median(std::vector<double> v) {
  std::ranges::sort(v);
  const size_t half = v.size() / 2;
  return v.size() % 2 ? v[half] : (v[half - 1] + v[half]) / 2;
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

std::vector<InferenceTimes> time_inference(const InferenceBench& o,
                                           std::shared_ptr<Stream> stream) {
  const ModelOptions options{.norm = o.norm, .plan = PassportPlan::of(o.scheme, o.sites)};
  const auto plain = models::make(o.model, {.norm = o.norm}, stream);
  const auto owned = models::make(o.model, options, stream);
  std::optional<Passport> passport;
  std::optional<OpenPassport> open;
  if (owned->has_branch(Branch::kPassport)) {
    passport = Passport::random(owned->sites(), Secret32(hash256("passnorm bench", {})),
                                Signature::random());
    open = owned->open(*passport);
  }
  const bool has_public = owned->has_branch(Branch::kPublic);

  const Shape& in = plain->architecture().input;
  const Random random(1, Purpose::kTest);
  std::vector<float> pixels(static_cast<size_t>(o.batch * in.size()));
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = 2 * random.uniform(i) - 1;
  const Tensor x = Tensor::from<float>(*stream, {o.batch, in[0], in[1], in[2]}, pixels);
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
