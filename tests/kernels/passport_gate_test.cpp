#include "tests/kernels/passport_sites.hpp"
#include "tests/reference/passport.hpp"
#include "tests/support/streams.hpp"

namespace passnorm::test {
namespace {

TEST(Gate, Forward) {
  const Gates gates;
  const Buffer raw(DType::kF32, uniform(gates.total, 1));
  const auto out = on_every_stream([&](TestStream& s) {
    Buffer hidden(DType::kF32, gates.hidden_total), used(DType::kF32, gates.total);
    kernels::gate(s, {.sites = gates.sites,
                      .raw = raw.read_as<float>(),
                      .hidden = hidden.write_as<float>(),
                      .used = used.write_as<float>()});
    return list(std::move(hidden), std::move(used));
  });
  for (size_t i = 0; i < gates.sites.size(); ++i) {
    const auto [c, h] = gates.sizes[i];
    const auto& site = gates.sites[i];
    const reference::GateResult expected = reference::gate(
        c, h, gates.a1[i].values(), gates.a2[i].values(), part(raw, site.offset, 2 * c).values());
    EXPECT_TRUE(close(part(out[0], site.hidden_offset, 2 * h), expected.hidden,
                      {.terms = static_cast<double>(c)}, {2, h}));
    EXPECT_TRUE(close(part(out[1], site.offset, 2 * c), expected.used,
                      {.terms = static_cast<double>(c + h) + 2}, {2, c}));
  }
}

TEST(Gate, Backward) {
  const Gates gates;
  const Buffer raw(DType::kF32, uniform(gates.total, 1)),
      dused(DType::kF32, uniform(gates.total, 2));
  Buffer hidden(DType::kF32, gates.hidden_total), used(DType::kF32, gates.total);
  kernels::gate(stream(), {.sites = gates.sites,
                           .raw = raw.read_as<float>(),
                           .hidden = hidden.write_as<float>(),
                           .used = used.write_as<float>()});
  const size_t n = gates.sites.size();
  for (const auto& [want_weights, want_draw] :
       std::vector<std::array<bool, 2>>{{true, true}, {false, true}, {true, false}}) {
    const auto out = on_every_stream([&](TestStream& s) {
      std::vector<Buffer> all(1 + 2 * n);
      std::vector<float*> da1(n), da2(n);
      if (want_draw) all[0] = Buffer(DType::kF32, uniform(gates.total, 3));
      const std::span<float> draw = all[0].write_as<float>();
      for (uint32_t i = 0; want_weights && i < n; ++i) {
        const auto [c, h] = gates.sizes[i];
        all[1 + 2 * i] = Buffer(DType::kF32, uniform(h * c, 40 + i));
        all[2 + 2 * i] = Buffer(DType::kF32, uniform(c * h, 50 + i));
        da1[i] = all[1 + 2 * i].write_as<float>().data();
        da2[i] = all[2 + 2 * i].write_as<float>().data();
      }
      kernels::gate_backward(s, {.sites = gates.sites,
                                 .raw = raw.read_as<float>(),
                                 .hidden = hidden.read_as<float>(),
                                 .dused = dused.read_as<float>(),
                                 .draw = draw,
                                 .da1 = da1,
                                 .da2 = da2});
      return all;
    });
    const Buffer draw_before(DType::kF32, uniform(gates.total, 3));
    for (uint32_t i = 0; i < n; ++i) {
      SCOPED_TRACE(testing::Message() << "site " << i << ", weights " << want_weights);
      const auto [c, h] = gates.sizes[i];
      const auto& site = gates.sites[i];
      reference::GateGradients expected = reference::gate_backward(
          c, h, gates.a1[i].values(), gates.a2[i].values(), part(raw, site.offset, 2 * c).values(),
          part(hidden, site.hidden_offset, 2 * h).values(),
          part(dused, site.offset, 2 * c).values());
      expected.draw += part(draw_before, site.offset, 2 * c).values();
      if (want_draw) {
        EXPECT_TRUE(close(part(out[0], site.offset, 2 * c), expected.draw,
                          {.terms = static_cast<double>(c + h) + 3}, {2, c}));
      }
      if (!want_weights) continue;
      expected.da1 += Buffer(DType::kF32, uniform(h * c, 40 + i)).values();
      expected.da2 += Buffer(DType::kF32, uniform(c * h, 50 + i)).values();
      EXPECT_TRUE(
          close(out[1 + 2 * i], expected.da1, {.terms = static_cast<double>(c) + 4}, {h, c}));
      EXPECT_TRUE(close(out[2 + 2 * i], expected.da2, {.terms = 4}, {c, h}));
    }
  }
}

/// A hidden unit below zero and one above, a gate of nothing, and positive homogeneity M(t v) = t
/// M(v).
TEST(GateWorkedValues, OneHiddenUnit) {
  const Buffer a1(DType::kF32, {.5, -1, .25, 2}), a2(DType::kF32, {1, -2, .5, 3});
  const kernels::GateSite site{.channels = 4,
                               .hidden = 1,
                               .a1 = a1.read_as<float>().data(),
                               .a2 = a2.read_as<float>().data()};
  const auto run = [&](const std::vector<double>& scale_and_shift) {
    const Buffer raw(DType::kF32, scale_and_shift);
    Buffer hidden(DType::kF32, 2), used(DType::kF32, 8);
    kernels::gate(stream(), {.sites = {&site, 1},
                             .raw = raw.read_as<float>(),
                             .hidden = hidden.write_as<float>(),
                             .used = used.write_as<float>()});
    return used;
  };
  const Buffer used = run({1, 2, -1, .5, 1, .5, 0, .5});
  const std::array<float, 8> expected{-.0075f, .015f, -.00375f, -.0225f, 1, -2, .5f, 3};
  for (size_t i = 0; i < 8; ++i) EXPECT_FLOAT_EQ(used.read_as<float>()[i], expected[i]);
  EXPECT_TRUE(equal(run(std::vector<double>(8)), std::vector<double>(8)));
  const Buffer four = run({4, 8, -4, 2, 4, 2, 0, 2});  // a power of two: exact
  for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(four[i], 4 * used[i]);
}

}  // namespace
}  // namespace passnorm::test
