#include "verify/attacks/training.hpp"

#include <algorithm>
#include <numeric>

#include "kernels/elementwise.hpp"
#include "kernels/runtime/random.hpp"
#include "models/model_file.hpp"
#include "verify/attacks/rewrite.hpp"

namespace passnorm::verify {

train::FitOptions fit_options(const AttackInput& input, const AttackSettings& settings,
                              bool weights) {
  train::FitOptions options{
      .epochs = settings.integer("epochs"), .batch = input.batch, .seed = input.seed};
  options.optimizer.lr = static_cast<float>(settings.number("lr"));
  options.optimizer.weight_decay = static_cast<float>(settings.number("weight-decay"));
  if (!weights) return options;
  options.optimizer.kind = train::optimizer_kind(settings.text("optimizer"));
  options.schedule = train::Schedule::parse(settings.text("schedule"));
  return options;
}

const train::Dataset& training_data(const AttackInput& input) {
  if (!input.train) fail(Fault::kUsage, "this attack trains: it needs training data");
  if (input.train->n < input.batch)
    fail(Fault::kUsage, "a batch of ", input.batch, " is larger than the ", input.train->n,
         " samples that the attack trains on");
  train::check_fits(*input.train, input.model);
  return *input.train;
}

train::Dataset part_of_training_data(const AttackInput& input, double share) {
  const train::Dataset& all = training_data(input);
  const auto count = static_cast<int64_t>(share * static_cast<double>(all.n));
  if (count < input.batch)
    fail(Fault::kUsage, "setting share: ", count, " samples are less than a batch of ",
         input.batch);
  return all.select(random_choice(all.n, count, input.seed, kShareStream));
}

std::vector<int64_t> random_choice(int64_t n, int64_t count, uint64_t seed, uint32_t stream) {
  const Random random(seed, Purpose::kAttack, stream);
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = 0; i < count; ++i) {
    const int64_t j = i + random.below(static_cast<uint64_t>(i), static_cast<uint32_t>(n - i));
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(j)]);
  }
  order.resize(static_cast<size_t>(count));
  return order;
}

void report_progress(const AttackInput& input, const std::string& line) {
  if (input.progress) input.progress(line);
}

train::Callbacks progress_callbacks(const AttackInput& input, const train::FitOptions& options,
                                    std::function<void(int64_t epoch)> finished) {
  return {.progress =
              [&input, epochs = options.epochs](const train::Progress& p) {
                report_progress(input, concat("epoch ", p.epoch + 1, "/", epochs, ", step ", p.step,
                                              "/", p.steps));
              },
          .epoch = [finished = std::move(finished)](
                       const train::EpochReport& report) { finished(report.train.epoch + 1); },
          .stop = {},
          .note = {}};
}

Secret32 forger_secret(uint64_t seed, uint64_t index) {
  return Secret32(hash256("passnorm forger v1", {seed, index}));
}

Passport with_read_bits(const Model& model, const Passport& passport) {
  std::vector<std::vector<int8_t>> bits;
  for (const std::vector<float>& scales : raw_scales(model, passport)) {
    auto& site = bits.emplace_back();
    for (const float scale : scales) site.push_back(scale > 0 ? 1 : -1);
  }
  return passport.with_bits(bits);
}

double share_of_bits(Model& model, const Passport& passport) {
  const Claim claim = examine(model, passport, {.null_passports = 0});
  return static_cast<double>(claim.matched) / static_cast<double>(claim.total);
}

bool in_last_layer(const Model& model, const std::string& parameter) {
  const auto& parameters = model.parameters().parameters();
  const auto weight =
      std::ranges::find_if(parameters.rbegin(), parameters.rend(), [&](const Parameter& p) {
        return p.spec.shape.rank() == 2 && p.spec.shape[0] == model.options().classes;
      });
  PASSNORM_CHECK(weight != parameters.rend(), "a network without a last layer");
  const std::string& name = weight->spec.name;  // "linear.weight"
  return parameter.starts_with(name.substr(0, name.find('.') + 1));
}

void copy_released(const Model& from, Model& to,
                   const std::function<bool(const TensorSpec& to)>& wanted) {
  Stream& stream = to.stream();
  const auto copy = [&](const auto& sources, const auto& targets, const auto& value) {
    for (const auto& target : targets) {
      if (target.spec.secret || !wanted(target.spec)) continue;
      const auto source = std::ranges::find_if(sources, [&](const auto& s) {
        return !s.spec.secret &&
               models::released_name(s.spec) == models::released_name(target.spec) &&
               s.spec.shape == target.spec.shape;
      });
      if (source == sources.end()) continue;
      dispatch(stream, [&](auto& s) {
        kernels::cast(s, {.x = value(*source).view(), .y = value(target).view()});
      });
    }
  };
  copy(from.parameters().parameters(), to.parameters().parameters(),
       [](const Parameter& p) { return p.var.value; });
  copy(from.parameters().buffers(), to.parameters().buffers(),
       [](const Buffer& b) { return b.value; });
}

}  // namespace passnorm::verify
