// The gradients of a norm.
#include "tests/kernels/norm_data.hpp"

namespace passnorm::test {
namespace {

using kernels::NormActivation;
using kernels::NormVariant;
using reference::Sums;

/// What a backward call leaves out or adds to.
struct Wants {
  const char* name;
  bool dx = true, affine = true, dresidual = true;
  bool accumulate_dx = false, accumulate_affine = false, accumulate_dresidual = false;
};
constexpr std::array<Wants, 7> kWants{
    {{.name = "all"},
     {.name = "all added",
      .accumulate_dx = true,
      .accumulate_affine = true,
      .accumulate_dresidual = true},
     {.name = "dx added", .accumulate_dx = true},
     {.name = "affine added", .accumulate_affine = true},
     {.name = "no dx", .dx = false},
     {.name = "no affine", .affine = false, .accumulate_dresidual = true},
     {.name = "no dresidual", .dresidual = false}}};

TEST_P(Norm, Backward) {
  for (NormMode mode : kModes)
    for (bool affine : {true, false}) {
      const NormData d(GetParam(), mode, affine);
      const auto lanes = static_cast<size_t>(d.norm.lanes);
      const Buffer dy(dtype(), uniform(d.norm.y_size(), 3));
      for (NormActivation activation : kActivations)
        for (int64_t residual_size : residual_sizes(d.norm))
          for (bool fixed : {false, true}) {
            const auto oracle_activation = static_cast<reference::Activation>(activation);
            const Buffer residual(dtype(), uniform(residual_size, 2));
            const Buffer y(dtype(), reference::norm_apply(d.norm, oracle_activation, d.x.values(),
                                                          residual.values(), d.affines())
                                        .value);
            const bool y_needed = activation == NormActivation::kRelu && residual_size > 0;
            const reference::NormGradients expected =
                reference::norm_backward(d.norm, oracle_activation, fixed, d.x.values(), y.values(),
                                         dy.values(), residual_size, d.affines());
            const auto check = [&](const Wants& wants, NormVariant variant) {
              SCOPED_TRACE(testing::Message()
                           << name_of(variant) << ", " << kModeNames[static_cast<size_t>(mode)]
                           << ", " << kActivationNames[static_cast<size_t>(activation)]
                           << ", affine " << affine << ", residual " << residual_size << " of "
                           << d.norm.y_size() << ", fixed " << fixed << ", " << wants.name);
              const auto output = [&](bool wanted, bool accumulate, DType type, int64_t n,
                                      uint32_t tag) {
                if (!wanted || n == 0) return Buffer();
                return accumulate ? Buffer(type, uniform(n, tag)) : Buffer(type, n);
              };
              const auto out = on_every_stream([&](TestStream& s) -> std::vector<Buffer> {
                Buffer dx = output(wants.dx, wants.accumulate_dx, dtype(), d.norm.x_size(), 30);
                Buffer dresidual =
                    output(wants.dresidual, wants.accumulate_dresidual, dtype(), residual_size, 31);
                std::array<Buffer, 2> dscale, dshift;
                kernels::NormBackward a{.geometry = d.geometry,
                                        .lanes = static_cast<int>(lanes),
                                        .fork = d.norm.fork,
                                        .activation = activation,
                                        .fixed_statistics = fixed,
                                        .x = d.x.read(),
                                        .y = y_needed ? y.read() : ConstView(),
                                        .has_residual = residual_size > 0,
                                        .dy = dy.read(),
                                        .lane = d.lanes(),
                                        .dscale = {},
                                        .dshift = {},
                                        .accumulate_affine = wants.accumulate_affine,
                                        .dx = dx.write(),
                                        .accumulate_dx = wants.accumulate_dx,
                                        .dresidual = dresidual.write(),
                                        .accumulate_dresidual = wants.accumulate_dresidual,
                                        .variant = variant};
                for (size_t l = 0; l < lanes; ++l) {
                  dscale[l] = output(wants.affine, wants.accumulate_affine, DType::kF32, d.norm.c,
                                     32 + static_cast<uint32_t>(l));
                  dshift[l] = output(wants.affine, wants.accumulate_affine, DType::kF32, d.norm.c,
                                     34 + static_cast<uint32_t>(l));
                  a.dscale[l] = dscale[l].write_as<float>();
                  a.dshift[l] = dshift[l].write_as<float>();
                }
                if (variant == NormVariant::kOneRead && !fits_one_read(s, a)) return {};
                kernels::norm_backward(s, a);
                return list(std::move(dx), std::move(dresidual), std::move(dscale[0]),
                            std::move(dshift[0]), std::move(dscale[1]), std::move(dshift[1]));
              });
              if (out.empty()) return;
              const auto with_before = [&](Sums sums, bool accumulate, DType type, uint32_t tag) {
                if (accumulate) sums += Buffer(type, uniform(sums.size(), tag)).values();
                return sums;
              };
              const double rows = static_cast<double>(d.norm.y_samples() * d.norm.s);
              const double members =
                  static_cast<double>(d.geometry.group_size() * (d.norm.fork ? 2 : 1));
              if (wants.dx) {
                EXPECT_TRUE(close(out[0],
                                  with_before(expected.dx, wants.accumulate_dx, dtype(), 30),
                                  {.terms = members + 12}, {d.norm.n, d.norm.s, d.norm.c}));
              }
              if (wants.dresidual && residual_size > 0) {
                // Lanes in different halves of dy are added one after the other, and rounded in
                // between.
                const Bound bound{.terms = 2,
                                  .compute = mode == NormMode::kSplit ? dtype() : DType::kF32};
                EXPECT_TRUE(
                    close(out[1],
                          with_before(expected.dresidual, wants.accumulate_dresidual, dtype(), 31),
                          bound));
              }
              for (uint32_t l = 0; wants.affine && l < lanes; ++l) {
                EXPECT_TRUE(close(
                    out[2 + 2 * l],
                    with_before(expected.dscale[l], wants.accumulate_affine, DType::kF32, 32 + l),
                    {.terms = rows + 4}))
                    << "dscale of lane " << l;
                EXPECT_TRUE(close(
                    out[3 + 2 * l],
                    with_before(expected.dshift[l], wants.accumulate_affine, DType::kF32, 34 + l),
                    {.terms = rows + 1}))
                    << "dshift of lane " << l;
              }
            };
            for (NormVariant variant : kVariants)
              for (const Wants& wants : kWants) {
                // With fixed statistics and without dx there are no two passes to save; what is
                // added to by itself is the two passes' business.
                if (variant == NormVariant::kOneRead &&
                    (fixed || !wants.dx || wants.accumulate_dx != wants.accumulate_affine))
                  continue;
                if (residual_size == 0 && !wants.dresidual) continue;
                if (!affine && wants.accumulate_affine && !wants.accumulate_dx)
                  continue;  // one of the two is enough
                check(wants, variant);
              }
          }
    }
}

void check_backward_of_fork(const NormParam& param, NormVariant variant) {
  SCOPED_TRACE(name_of(variant));
  const DType dtype = param.dtype;
  const NormData d(param, NormMode::kFork, true);
  const Buffer dy(dtype, uniform(d.norm.y_size(), 3));
  const auto out = on_every_stream([&](TestStream& s) -> std::vector<Buffer> {
    Buffer dx(dtype, d.norm.x_size());
    std::array<Buffer, 2> dscale, dshift;
    for (size_t l = 0; l < 2; ++l)
      dscale[l] = Buffer(DType::kF32, d.norm.c), dshift[l] = Buffer(DType::kF32, d.norm.c);
    const kernels::NormBackward a{
        .geometry = d.geometry,
        .lanes = 2,
        .fork = true,
        .activation = NormActivation::kRelu,
        .x = d.x.read(),
        .y = {},
        .dy = dy.read(),
        .lane = d.lanes(),
        .dscale = {dscale[0].write_as<float>(), dscale[1].write_as<float>()},
        .dshift = {dshift[0].write_as<float>(), dshift[1].write_as<float>()},
        .dx = dx.write(),
        .dresidual = {},
        .variant = variant};
    if (variant == NormVariant::kOneRead && !fits_one_read(s, a)) return {};
    kernels::norm_backward(s, a);
    return list(std::move(dx), std::move(dscale[0]), std::move(dscale[1]), std::move(dshift[0]),
                std::move(dshift[1]));
  });
  if (out.empty()) return;
  const reference::NormGradients expected = reference::norm_backward(
      d.norm, reference::Activation::kRelu, false, d.x.values(), {}, dy.values(), 0, d.affines());
  const double rows = static_cast<double>(d.norm.y_samples() * d.norm.s);
  EXPECT_TRUE(
      close(out[0], expected.dx, {.terms = 2 * static_cast<double>(d.geometry.group_size()) + 12}));
  for (size_t l = 0; l < 2; ++l) {
    EXPECT_TRUE(close(out[1 + l], expected.dscale[l], {.terms = rows + 4}))
        << "dscale of lane " << l;
    EXPECT_TRUE(close(out[3 + l], expected.dshift[l], {.terms = rows + 1}))
        << "dshift of lane " << l;
  }
}

void check_backward_of_fork(const NormParam& param) {
  for (NormVariant variant : kVariants) check_backward_of_fork(param, variant);
}

using NormFull = Norm;
TEST_P(NormFull, BackwardOfForkedLayer) { check_backward_of_fork(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Layers, NormFull, testing::ValuesIn(norm_params(cases::layer_norms(8))),
                         testing::PrintToStringParamName());

TEST_P(NormWalk, BackwardOfFork) { check_backward_of_fork(GetParam()); }

/// Each lane its half of the rows, and both of them the same residual.
TEST_P(NormWalk, BackwardOfHalves) {
  const NormData d(GetParam(), NormMode::kSplit, true);
  const auto activation = reference::Activation::kRelu;
  const int64_t half = d.norm.y_size() / 2;
  const Buffer dy(dtype(), uniform(d.norm.y_size(), 3)), residual(dtype(), uniform(half, 2));
  const Buffer y(dtype(), reference::norm_apply(d.norm, activation, d.x.values(), residual.values(),
                                                d.affines())
                              .value);
  const auto out = on_every_stream([&](TestStream& s) {
    Buffer dx(dtype(), d.norm.x_size()), dresidual(dtype(), half);
    std::array<Buffer, 2> dscale, dshift;
    for (size_t l = 0; l < 2; ++l)
      dscale[l] = Buffer(DType::kF32, d.norm.c), dshift[l] = Buffer(DType::kF32, d.norm.c);
    kernels::norm_backward(s, {.geometry = d.geometry,
                               .lanes = 2,
                               .activation = NormActivation::kRelu,
                               .x = d.x.read(),
                               .y = y.read(),
                               .has_residual = true,
                               .dy = dy.read(),
                               .lane = d.lanes(),
                               .dscale = {dscale[0].write_as<float>(), dscale[1].write_as<float>()},
                               .dshift = {dshift[0].write_as<float>(), dshift[1].write_as<float>()},
                               .dx = dx.write(),
                               .dresidual = dresidual.write()});
    return list(std::move(dx), std::move(dresidual), std::move(dscale[0]), std::move(dscale[1]),
                std::move(dshift[0]), std::move(dshift[1]));
  });
  const reference::NormGradients expected = reference::norm_backward(
      d.norm, activation, false, d.x.values(), y.values(), dy.values(), half, d.affines());
  const double rows = static_cast<double>(d.norm.y_samples() * d.norm.s);
  EXPECT_TRUE(
      close(out[0], expected.dx, {.terms = static_cast<double>(d.geometry.group_size()) + 12}));
  EXPECT_TRUE(close(out[1], expected.dresidual, {.terms = 2, .compute = dtype()}));
  for (size_t l = 0; l < 2; ++l) {
    EXPECT_TRUE(close(out[2 + l], expected.dscale[l], {.terms = rows + 4})) << "lane " << l;
    EXPECT_TRUE(close(out[4 + l], expected.dshift[l], {.terms = rows + 1})) << "lane " << l;
  }
}

}  // namespace
}  // namespace passnorm::test
