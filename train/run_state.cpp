#include "train/run_state.hpp"

#include <type_traits>

namespace passnorm::train {
namespace {

/// Numbers into a list and back, in the order of `transfer`.
class NumberWriter {
 public:
  template <class T>
  void operator()(const T& v) {
    numbers.push_back(static_cast<double>(v));  // counts are far below 2^53
  }
  std::vector<double> numbers;
};

class NumberReader {
 public:
  NumberReader(const std::string& name, const std::vector<double>& numbers)
      : name_(name), numbers_(numbers) {}
  template <class T>
  void operator()(T& v) {
    const double number = at_ < numbers_.size() ? numbers_[at_++] : refuse();
    if constexpr (std::is_integral_v<T>)
      if (!(number >= 0 && number <= 0x1p53)) refuse();
    v = static_cast<T>(number);
  }
  void finish() const {
    if (at_ != numbers_.size()) refuse();
  }

 private:
  [[noreturn]] double refuse() const {
    fail(Fault::kInput, name_, ": its numbers are not those of this run");
  }
  const std::string& name_;
  const std::vector<double>& numbers_;
  size_t at_ = 0;
};

template <class Archive>
void transfer(Archive& a, std::vector<double>& v, size_t size) {
  v.resize(size);
  for (double& x : v) a(x);
}

template <class Archive>
void transfer(Archive& a, std::optional<double>& v) {
  bool has = v.has_value();
  double value = v.value_or(0);
  a(has), a(value);
  v = has ? std::optional(value) : std::nullopt;
}

template <class Archive>
void transfer(Archive& a, std::optional<Evaluation>& v) {
  bool has = v.has_value();
  Evaluation e = v.value_or(Evaluation{});
  a(has), a(e.images);
  for (auto* x : {&e.public_accuracy, &e.passport_accuracy, &e.public_loss, &e.passport_loss,
                  &e.public_class_accuracy, &e.passport_class_accuracy})
    transfer(a, *x);
  v = has ? std::optional(e) : std::nullopt;
}

template <class Archive>
void transfer(Archive& a, EpochReport& e, size_t sites) {
  Progress& p = e.train;
  a(p.epoch), a(p.step), a(p.steps), a(p.lr);
  for (double* x : {&p.loss_public, &p.loss_passport, &p.sign_loss, &p.accuracy_public,
                    &p.accuracy_passport, &p.bits, &p.images_per_second, &e.seconds})
    a(*x);
  transfer(a, e.bits, sites);
  transfer(a, e.test);
  transfer(a, e.triggers);
  a(e.skipped_steps);
}

template <class Archive>
void transfer(Archive& a, RunState& s, size_t sites) {
  a(s.update.updates), a(s.skipped_in_a_row), a(s.best_score);
  Meter& m = s.meter;
  for (double* x :
       {&m.loss[0], &m.loss[1], &m.hits[0], &m.hits[1], &m.sign_loss, &m.bits, &m.seconds})
    a(*x);
  a(m.steps), a(m.skipped);
  transfer(a, s.bits, sites);
  transfer(a, s.last, sites);
  transfer(a, s.best, sites);
  a(s.update.loss_scale), a(s.update.good_steps);
}

}  // namespace

std::vector<double> numbers_of(RunState state, size_t sites) {
  NumberWriter writer;
  transfer(writer, state, sites);
  return std::move(writer.numbers);
}

RunState state_of(const std::string& name, const std::vector<double>& numbers, size_t sites) {
  RunState state;
  NumberReader reader(name, numbers);
  transfer(reader, state, sites);
  reader.finish();
  return state;
}

}  // namespace passnorm::train
