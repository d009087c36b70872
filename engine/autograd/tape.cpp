#include "engine/autograd/tape.hpp"

#include <utility>

namespace passnorm {

GradientSink Var::sink(Stream& stream) const {
  PASSNORM_CHECK(gradient, "a value without gradient has no sink");
  if (!gradient->value) gradient->value = Tensor::empty(stream, shape(), value.dtype());
  return {gradient->value, std::exchange(gradient->written, true)};
}

void Tape::record(const Var& y, std::function<void(const Tensor& dy)> closure) {
  if (!y.gradient) return;
  closures_.push_back([gradient = y.gradient, closure = std::move(closure)] {
    if (gradient->written) closure(gradient->value);
  });
}

void Tape::backward() {
  while (!closures_.empty()) {
    const auto closure = std::move(closures_.back());
    closures_.pop_back();  // frees what only this op kept, before the next one asks for memory
    closure();
  }
}

}  // namespace passnorm
