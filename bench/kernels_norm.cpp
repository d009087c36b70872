#include "bench/cases/norm.hpp"
#include "bench/catalogue.hpp"
#include "kernels/norm.hpp"

namespace passnorm::bench {
namespace {

using kernels::NormActivation;

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
  void statistics() const {
    dispatch(stream, [&](auto& s) {
      kernels::norm_statistics(
          s, {.geometry = geometry, .x = x.view(), .mean = mean.span(), .rstd = rstd.span()});
    });
  }
  void apply() const {
    dispatch(stream, [&](auto& s) {
      kernels::norm_apply(s, {.geometry = geometry,
                              .lanes = lanes(),
                              .fork = fork,
                              .activation = NormActivation::kRelu,
                              .x = x.view(),
                              .lane = affines(),
                              .y = y.view()});
    });
  }
  void backward() const {
    dispatch(stream, [&](auto& s) {
      kernels::norm_backward(s, {.geometry = geometry,
                                 .lanes = lanes(),
                                 .fork = fork,
                                 .activation = NormActivation::kRelu,
                                 .x = x.view(),
                                 .dy = dy.view(),
                                 .lane = affines(),
                                 .dscale = {lane<float>(dscale, 0), lane<float>(dscale, 1)},
                                 .dshift = {lane<float>(dshift, 0), lane<float>(dshift, 1)},
                                 .dx = dx.view()});
    });
  }
};

void add_norm(Catalogue& all, const cases::NormCase& c, DType dtype) {
  const double tensor = c.forward_bytes(width(dtype)) / 2;
  // Tensors read and written: at least, and by statistics (1), apply (2), and the two passes of
  // backward (2, 3); a fork writes two y and reads two dy.
  const auto add = [&](const char* name, double least, double moved, bool fork, auto call) {
    all.add(name, c.name, dtype, 0, least * tensor,
            [c, dtype, fork, call](Stream& s) -> Call {
              const auto norm = std::make_shared<Norm>(s, c, dtype, fork);
              norm->statistics();
              return [norm, call] { call(*norm); };
            })
        .moved = moved * tensor;
  };
  add("norm/statistics", 1, 1, false, [](const Norm& n) { n.statistics(); });
  add("norm/forward", 2, 3, false, [](const Norm& n) { n.statistics(), n.apply(); });
  add("norm/backward", 3, 5, false, [](const Norm& n) { n.backward(); });
  add("norm/both", 5, 8, false, [](const Norm& n) { n.statistics(), n.apply(), n.backward(); });
  add("norm/fork", 7, 11, true, [](const Norm& n) { n.statistics(), n.apply(), n.backward(); });
}

}  // namespace

void add_norms(Catalogue& all) {
  for (const DType dtype : all.storage())
    for (const cases::NormCase& c : cases::layer_norms(all.samples())) add_norm(all, c, dtype);
}

}  // namespace passnorm::bench
