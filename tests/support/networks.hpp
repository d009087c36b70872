// What tests of whole networks share: streams, pictures, networks that look trained, logits.
#pragma once

#include <gtest/gtest.h>

#include <cstring>

#include "engine/io/crypto.hpp"
#include "kernels/runtime/random.hpp"
#include "models/model_file.hpp"
#include "tests/support/stream_options.hpp"

namespace passnorm::test {

/// Where tests of whole networks run: the CPU, and those that are built with PASSNORM_TEST_CUDA a
/// GPU or the emulator.
inline Device network_device() {
#if PASSNORM_TEST_CUDA
  return Device::cuda();
#else
  return Device::cpu();
#endif
}

inline std::shared_ptr<Stream> network_stream() {
  // Never destroyed: at exit cuDNN ends before what was made ahead of its being opened.
  static const auto& stream =
      *new std::shared_ptr<Stream>(make_stream(network_device(), stream_options(2)));
  return stream;
}

/// The same, where convolutions sum their results for batch norm.
inline std::shared_ptr<Stream> summing_stream() {
  static const auto& stream = *new std::shared_ptr<Stream>([] {
    StreamOptions options = stream_options(2);
    options.epilogue_statistics = true;
    return make_stream(network_device(), std::move(options));
  }());
  return stream;
}

inline Secret32 secret(uint64_t n) { return Secret32(hash256("passnorm test secret", {n})); }

inline std::string text_of_norm(kernels::NormKind kind) { return std::string(name_of(kind)); }

/// n random pictures for the network, about standard normal.
inline Tensor pictures(const Model& model, int64_t n, uint64_t seed = 1) {
  const Shape in = model.input();
  const Random random(seed, Purpose::kTest);
  std::vector<float> pixels(static_cast<size_t>(n * in.size()));
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = random.normal(i);
  return Tensor::from<float>(model.stream(), {n, in[0], in[1], in[2]}, pixels);
}

/// Makes every one-dimensional parameter and every running statistic a number of its own, as after
/// training: constants would hide a tensor that is lost or swapped.
inline void unsettle(Model& model, uint64_t seed = 7) {
  uint32_t k = 0;
  const auto add_noise = [&](const TensorSpec& spec, const Tensor& value) {
    const Random random(seed, Purpose::kTest, ++k);
    if (spec.shape.rank() > 1) return;
    std::vector<float> v = value.to_host(model.stream());
    for (size_t i = 0; i < v.size(); ++i) v[i] += 0.5f * random.uniform(i);
    value.copy_from<float>(model.stream(), v);
  };
  for (const Parameter& p : model.parameters().parameters()) add_noise(p.spec, p.var.value);
  for (const Buffer& b : model.parameters().buffers()) add_noise(b.spec, b.value);
}

/// Logits of one branch in evaluation mode.
inline std::vector<float> logits(Model& model, const Passport* passport, Branch branch,
                                 const Tensor& x) {
  Tape tape(model.stream(), Tape::Mode::kForwardOnly);
  std::optional<OpenPassport> open;
  if (passport) open = model.open(*passport);
  Pass pass{.tape = tape,
            .mode = Mode::kEvaluate,
            .passport = open ? &*open : nullptr,
            .raw = {},
            .used = {}};
  return model.forward(pass, {x, Lanes::only(branch), nullptr}).value.to_host(model.stream());
}

/// The same bits, and numbers at all.
inline testing::AssertionResult same_numbers(const std::vector<float>& a,
                                             const std::vector<float>& b) {
  if (a.size() != b.size()) return testing::AssertionFailure() << a.size() << " and " << b.size();
  for (size_t i = 0; i < a.size(); ++i)
    if (!std::isfinite(a[i]) || std::memcmp(&a[i], &b[i], sizeof(float)) != 0)
      return testing::AssertionFailure() << "element " << i << " is " << a[i] << " and " << b[i];
  return testing::AssertionSuccess();
}

}  // namespace passnorm::test
