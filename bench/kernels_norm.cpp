#include "bench/cases/norm.hpp"
#include "bench/catalogue.hpp"
#include "engine/io/text.hpp"
#include "kernels/norm.hpp"

namespace passnorm::bench {
namespace {

using kernels::NormActivation;
using kernels::NormVariant;

/// Batch norm with scale, shift and ReLU: what a passport layer's passport branch does.
struct Norm {
  Stream& stream;
  kernels::NormGeometry geometry;
  bool fork;
  Tensor x, y, dy, dx, mean, rstd, scale, shift, dscale, dshift;

  Norm(Stream& s, const cases::NormCase& c, DType dtype, bool forked)
      : stream(s),
        geometry(kernels::NormGeometry::of(kernels::NormKind::kBatch, c.n, c.s, c.c, 1)),
        fork(forked),
        x(operand(s, geometry.x_size(), dtype)),
        y(result(s, lanes() * geometry.x_size(), dtype)),
        dy(operand(s, lanes() * geometry.x_size(), dtype)),
        dx(result(s, geometry.x_size(), dtype)),
        mean(result(s, c.c)),
        rstd(result(s, c.c)),
        scale(operand(s, lanes() * c.c)),
        shift(operand(s, lanes() * c.c)),
        dscale(result(s, lanes() * c.c)),
        dshift(result(s, lanes() * c.c)) {}

  int lanes() const { return fork ? 2 : 1; }
  template <class T>
  std::span<T> lane(const Tensor& t, int l) const {
    if (l >= lanes()) return {};
    return t.slice(l * geometry.channels, {geometry.channels}).span();
  }
  std::array<kernels::NormLane, 2> affines() const {
    std::array<kernels::NormLane, 2> all;
    for (int l = 0; l < lanes(); ++l)
      all[static_cast<size_t>(l)] = {mean.span(), rstd.span(), lane<float>(scale, l),
                                     lane<float>(shift, l)};
    return all;
  }
  kernels::NormStatistics statistics() const {
    return {.geometry = geometry, .x = x.view(), .mean = mean.span(), .rstd = rstd.span()};
  }
  kernels::NormForward forward(NormVariant variant) const {
    return {.statistics = statistics(),
            .apply = {.geometry = geometry,
                      .lanes = lanes(),
                      .fork = fork,
                      .activation = NormActivation::kRelu,
                      .x = x.view(),
                      .lane = affines(),
                      .y = y.view()},
            .variant = variant};
  }
  kernels::NormBackward backward(NormVariant variant) const {
    return {.geometry = geometry,
            .lanes = lanes(),
            .fork = fork,
            .activation = NormActivation::kRelu,
            .x = x.view(),
            .dy = dy.view(),
            .lane = affines(),
            .dscale = {lane<float>(dscale, 0), lane<float>(dscale, 1)},
            .dshift = {lane<float>(dshift, 0), lane<float>(dshift, 1)},
            .dx = dx.view(),
            .variant = variant};
  }
};

/// What a row times.
struct Passes {
  bool statistics = false, forward = false, backward = false;
};

void run(const Norm& norm, const Passes& passes, NormVariant variant) {
  dispatch(norm.stream, [&](auto& s) {
    if (passes.statistics) kernels::norm_statistics(s, norm.statistics());
    if (passes.forward) kernels::norm_forward(s, norm.forward(variant));
    if (passes.backward) kernels::norm_backward(s, norm.backward(variant));
  });
}

/// Error(kMachine) where one read does not fit.
void require(const Norm& norm, const Passes& passes, NormVariant variant) {
  if (variant == NormVariant::kTwoPass) return;
  const bool fits = dispatch(norm.stream, [&](auto& s) {
    return (!passes.forward || fits_one_read(s, norm.forward(variant))) &&
           (!passes.backward || fits_one_read(s, norm.backward(variant)));
  });
  if (!fits)
    fail(Fault::kMachine, "the tensors are larger than what this device keeps on its chip");
}

/// Tensors read and written, at least and by two passes: statistics (1), apply (2), and the two of
/// backward (2, 3); a fork writes two y and reads two dy.
void add_norm(Catalogue& all, const cases::NormCase& c, DType dtype, NormVariant variant) {
  const double tensor = c.forward_bytes(width(dtype)) / 2;
  const bool once = variant == NormVariant::kOneRead;
  const auto add = [&](const char* name, double least, double moved, bool fork,
                       const Passes& passes) {
    all.add(concat("norm/", name, once ? "_one_read" : ""), c.name, dtype, 0, least * tensor,
            [c, dtype, fork, passes, variant](Stream& s) -> Call {
              const auto norm = std::make_shared<Norm>(s, c, dtype, fork);
              require(*norm, passes, variant);
              run(*norm, {.statistics = true}, variant);
              return [norm, passes, variant] { run(*norm, passes, variant); };
            })
        .moved = (once ? least : moved) * tensor;
  };
  if (!once) add("statistics", 1, 1, false, {.statistics = true});
  add("forward", 2, 3, false, {.forward = true});
  add("backward", 3, 5, false, {.backward = true});
  add("both", 5, 8, false, {.forward = true, .backward = true});
  add("fork", 7, 11, true, {.forward = true, .backward = true});
}

}  // namespace

void add_norms(Catalogue& all) {
  for (const DType dtype : all.storage())
    for (const cases::NormCase& c : cases::layer_norms(all.samples())) {
      add_norm(all, c, dtype, NormVariant::kTwoPass);
      if (all.on_gpu()) add_norm(all, c, dtype, NormVariant::kOneRead);
    }
}

}  // namespace passnorm::bench
