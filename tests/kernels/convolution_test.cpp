#include "kernels/convolution.hpp"

#include <array>

#include "bench/cases/convolution.hpp"
#include "tests/reference/convolution.hpp"
#include "tests/reference/winograd.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"
#include "tests/support/types.hpp"

namespace passnorm::test {
namespace {

using cases::ConvCase;
using kernels::ConvGeometry;

struct Param {
  ConvCase size;
  DType dtype;
};

#if PASSNORM_TEST_CUDA
constexpr bool kCuda = true;
#else
constexpr bool kCuda = false;
#endif
#if PASSNORM_TEST_CUDA && !PASSNORM_EMULATED
constexpr bool kGpu = true;
constexpr std::array kTypes{DType::kF32, DType::kBF16, DType::kF16};
#else
constexpr bool kGpu = false;
constexpr std::array kTypes{DType::kF32, DType::kBF16};
#endif

std::vector<Param> with_types(const std::vector<ConvCase>& sizes) {
  std::vector<Param> all;
  for (const ConvCase& size : sizes)
    for (DType dtype : kTypes) all.push_back({size, dtype});
  return all;
}
void PrintTo(const Param& p, std::ostream* out) { *out << p.size.name << "_" << name_of(p.dtype); }

/// oneDNN convolves bf16 on CPUs with AVX-512 only; elsewhere the kernel says so
/// (ConvolutionTypes).
bool has_bf16() {
#if defined(__x86_64__)
  return kGpu || __builtin_cpu_supports("avx512bw");
#else
  return kGpu;
#endif
}

double largest(const Buffer& b) {
  double m = 0;
  for (double v : b.values()) m = std::max(m, std::abs(v));
  return m;
}

/// Activations in the parameter's type; weights in the same (the working copy); bias and weight
/// gradients in f32.
class Convolution : public testing::TestWithParam<Param> {
 protected:
  void SetUp() override {
    if (dtype() == DType::kBF16 && !has_bf16()) GTEST_SKIP() << "this CPU has no bf16 convolution";
  }
  const ConvCase& size() const { return GetParam().size; }
  DType dtype() const { return GetParam().dtype; }
  ConvGeometry geometry() const {
    const ConvCase& c = size();
    return {c.n, c.h, c.w, c.c, c.o, c.kh, c.kw, c.stride, c.pad};
  }
  reference::Conv conv() const {
    const ConvCase& c = size();
    return {c.n, c.h, c.w, c.c, c.o, c.kh, c.kw, c.stride, c.pad};
  }
  int64_t tiles() const { return size().n * ((size().oh() + 3) / 4) * ((size().ow() + 3) / 4); }
  /// Large 3x3 convolutions in f32 may be computed by Winograd's algorithm; small ones have nothing
  /// to gain from it.
  bool may_be_winograd() const {
    const ConvCase& c = size();
    return dtype() == DType::kF32 && c.kh == 3 && c.kw == 3 && c.stride == 1 && c.c >= 32 &&
           c.o >= 32 && tiles() >= 64;
  }
  /// The bound of a sum of `length` products; where Winograd may be used, its magnitude takes the
  /// place of the terms'.
  Bound bound(int64_t length, reference::Sums& expected, double winograd_magnitude) const {
    const double terms = static_cast<double>(length) + 2;
    if (!may_be_winograd()) return {.terms = terms};
    for (double& m : expected.magnitude) m = std::max(m, winograd_magnitude);
    return {.terms = terms + reference::WinogradAmplification::kTransformRoundings};
  }
  /// A GPU may round the weight gradient of 16-bit activations to their type, and add it then.
  void may_be_rounded(reference::Sums& dw, const Bound& error) const {
    if (!kGpu || dtype() == DType::kF32) return;
    const double unit = gamma(error.terms, unit_roundoff(error.compute));
    for (size_t i = 0; i < dw.value.size(); ++i)
      dw.magnitude[i] += 1.01 * unit_roundoff(dtype()) / unit * std::abs(dw.value[i]);
  }

  Buffer x{dtype(), uniform(geometry().x_size(), 1)};
  Buffer w{dtype(), uniform(geometry().w_size(), 2)};
  Buffer bias{DType::kF32, uniform(size().o, 3)};
  Buffer dy{dtype(), uniform(geometry().y_size(), 4)};
  reference::WinogradAmplification winograd;
};

TEST_P(Convolution, Forward) {
  const Buffer none;
  for (const Buffer* b : {static_cast<const Buffer*>(&bias), &none}) {
    reference::Sums expected = reference::conv_forward(conv(), x.values(), w.values(), b->values());
    const Bound error =
        bound(geometry().window(), expected,
              winograd.forward * static_cast<double>(size().c) * largest(x) * largest(w));
    for (TestStream& s : streams()) {
      Buffer y(dtype(), geometry().y_size()), again(dtype(), geometry().y_size());
      for (Buffer* out : {&y, &again})
        kernels::conv_forward(s, {.geometry = geometry(),
                                  .x = x.read(),
                                  .w = w.read(),
                                  .bias = b->read(),
                                  .y = out->write()});
      EXPECT_TRUE(close(y, expected, error, {size().n, size().oh(), size().ow(), size().o}))
          << name_of(s);
      EXPECT_TRUE(same_bits(y, again)) << "two runs";
    }
    // relu never moves two numbers apart: the bound stays.
    for (double& v : expected.value) v = std::max(v, 0.0);
    for (TestStream& s : streams()) {
      Buffer y(dtype(), geometry().y_size());
      kernels::conv_forward(s, {.geometry = geometry(),
                                .x = x.read(),
                                .w = w.read(),
                                .bias = b->read(),
                                .y = y.write(),
                                .relu = true});
      EXPECT_TRUE(close(y, expected, error, {size().n, size().oh(), size().ow(), size().o}))
          << "relu, " << name_of(s);
      for (const double v : y.values()) ASSERT_GE(v, 0);
    }
  }
}

TEST_P(Convolution, BackwardData) {
  reference::Sums expected = reference::conv_backward_data(conv(), dy.values(), w.values());
  const Bound error =
      bound(size().kh * size().kw * size().o, expected,
            winograd.forward * static_cast<double>(size().o) * largest(dy) * largest(w));
  for (TestStream& s : streams()) {
    Buffer dx(dtype(), geometry().x_size()), again(dtype(), geometry().x_size());
    for (Buffer* out : {&dx, &again})
      kernels::conv_backward_data(
          s, {.geometry = geometry(), .dy = dy.read(), .w = w.read(), .dx = out->write()});
    EXPECT_TRUE(close(dx, expected, error, {size().n, size().h, size().w, size().c})) << name_of(s);
    EXPECT_TRUE(same_bits(dx, again)) << "two runs";
  }
}

TEST_P(Convolution, BackwardWeight) {
  const reference::Sums dw_only = reference::conv_backward_weight(conv(), x.values(), dy.values());
  const reference::Sums dbias_only = reference::conv_backward_bias(conv(), dy.values());
  const std::vector<double> dw_before = uniform(geometry().w_size(), 5),
                            dbias_before = uniform(size().o, 6);
  const int64_t length = size().n * size().oh() * size().ow();
  for (bool accumulate : {false, true})
    for (bool with_bias : {false, true})
      for (TestStream& s : streams()) {
        SCOPED_TRACE(testing::Message() << "accumulate " << accumulate << ", bias " << with_bias
                                        << ", " << name_of(s));
        const auto output = [&](const std::vector<double>& before) {
          return accumulate ? Buffer(DType::kF32, before)
                            : Buffer(DType::kF32, static_cast<int64_t>(before.size()));
        };
        Buffer dw = output(dw_before), again = output(dw_before), dbias, dbias_again;
        if (with_bias) dbias = output(dbias_before), dbias_again = output(dbias_before);
        reference::Sums dw_expected = dw_only, dbias_expected = dbias_only;
        const Bound error =
            bound(length, dw_expected,
                  winograd.weight * static_cast<double>(tiles()) * largest(x) * largest(dy));
        may_be_rounded(dw_expected, error);
        if (accumulate) dw_expected += dw.values();
        if (accumulate && with_bias) dbias_expected += dbias.values();
        kernels::conv_backward_weight(s, {.geometry = geometry(),
                                          .x = x.read(),
                                          .dy = dy.read(),
                                          .dw = dw.write(),
                                          .dbias = dbias.write(),
                                          .accumulate = accumulate});
        kernels::conv_backward_weight(s, {.geometry = geometry(),
                                          .x = x.read(),
                                          .dy = dy.read(),
                                          .dw = again.write(),
                                          .dbias = dbias_again.write(),
                                          .accumulate = accumulate});
        EXPECT_TRUE(close(dw, dw_expected, error, {size().o, size().kh, size().kw, size().c}));
        EXPECT_TRUE(same_bits(dw, again)) << "two runs";
        if (!with_bias) continue;
        EXPECT_TRUE(close(dbias, dbias_expected, {.terms = static_cast<double>(length) + 2}));
        EXPECT_TRUE(same_bits(dbias, dbias_again)) << "two runs";
      }
}

INSTANTIATE_TEST_SUITE_P(Odd, Convolution, testing::ValuesIn(with_types(cases::odd_convolutions())),
                         testing::PrintToStringParamName());

/// The smallest layers of the networks, and some with enough tiles for Winograd, ragged last ones
/// and every padding it takes.
std::vector<ConvCase> real_layers() {
  std::vector<ConvCase> some{{"ragged_tiles", 5, 15, 13, 48, 80, 3, 3, 1, 1},
                             {"ragged_channels", 5, 15, 13, 33, 40, 3, 3, 1, 1},
                             {"many_tiles", 2, 24, 24, 32, 48, 3, 3, 1, 1},
                             {"many_tiles_no_pad", 3, 19, 22, 64, 32, 3, 3, 1, 0},
                             {"many_tiles_pad2", 3, 17, 15, 32, 64, 3, 3, 1, 2}};
  for (const ConvCase& c : cases::layer_convolutions(1))
    if (c.flops() <= 1e7) some.push_back(c);
  return some;
}
INSTANTIATE_TEST_SUITE_P(Layer, Convolution, testing::ValuesIn(with_types(real_layers())),
                         testing::PrintToStringParamName());

using ConvolutionFull = Convolution;
TEST_P(ConvolutionFull, Forward) {
  reference::Sums expected = reference::conv_forward(conv(), x.values(), w.values(), bias.values());
  const Bound error =
      bound(geometry().window(), expected,
            winograd.forward * static_cast<double>(size().c) * largest(x) * largest(w));
  Buffer y(dtype(), geometry().y_size());
  kernels::conv_forward(
      stream(),
      {.geometry = geometry(), .x = x.read(), .w = w.read(), .bias = bias.read(), .y = y.write()});
  EXPECT_TRUE(close(y, expected, error, {size().n, size().oh(), size().ow(), size().o}));
}
TEST_P(ConvolutionFull, BackwardData) {
  reference::Sums expected = reference::conv_backward_data(conv(), dy.values(), w.values());
  const Bound error =
      bound(size().kh * size().kw * size().o, expected,
            winograd.forward * static_cast<double>(size().o) * largest(dy) * largest(w));
  Buffer dx(dtype(), geometry().x_size());
  kernels::conv_backward_data(
      stream(), {.geometry = geometry(), .dy = dy.read(), .w = w.read(), .dx = dx.write()});
  EXPECT_TRUE(close(dx, expected, error, {size().n, size().h, size().w, size().c}));
}
TEST_P(ConvolutionFull, BackwardWeight) {
  reference::Sums expected = reference::conv_backward_weight(conv(), x.values(), dy.values());
  const Bound error =
      bound(size().n * size().oh() * size().ow(), expected,
            winograd.weight * static_cast<double>(tiles()) * largest(x) * largest(dy));
  may_be_rounded(expected, error);
  Buffer dw(DType::kF32, geometry().w_size());
  kernels::conv_backward_weight(
      stream(), {.geometry = geometry(), .x = x.read(), .dy = dy.read(), .dw = dw.write()});
  EXPECT_TRUE(close(dw, expected, error, {size().o, size().kh, size().kw, size().c}));
}
/// Filters that exceed the caches, few tiles.
INSTANTIATE_TEST_SUITE_P(ManyFilters, ConvolutionFull,
                         testing::Values(Param{{"few_tiles", 72, 4, 4, 256, 512, 3, 3, 1, 1},
                                               DType::kF32}),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Layers, ConvolutionFull,
                         testing::ValuesIn(with_types(cases::layer_convolutions(4))),
                         testing::PrintToStringParamName());

/// A type without a fast implementation is refused, with the way out: a slow one would be hundreds
/// of times slower.
TEST(ConvolutionTypes, RefusesWhatItCannotDoFast) {
  const ConvGeometry g{1, 4, 4, 2, 3, 3, 3, 1, 1};
  for (DType dtype : {DType::kF16, DType::kBF16}) {
    if (kGpu || (dtype == DType::kBF16 && has_bf16())) continue;
    const Buffer x(dtype, uniform(g.x_size(), 1)), w(dtype, uniform(g.w_size(), 2));
    Buffer y(dtype, g.y_size());
    try {
      kernels::conv_forward(stream(),
                            {.geometry = g, .x = x.read(), .w = w.read(), .y = y.write()});
      ADD_FAILURE() << "convolved " << name_of(dtype);
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::kMachine);
      EXPECT_NE(std::string(error.what()).find("f32"), std::string::npos) << error.what();
    }
  }
}

/// The master weights may be read as they are, whatever the activations' type.
TEST(ConvolutionTypes, Bf16ActivationsWithF32Weights) {
  if (!has_bf16()) GTEST_SKIP() << "this CPU has no bf16 convolution";
  const reference::Conv c{2, 5, 5, 7, 9, 3, 3, 1, 1};
  const ConvGeometry g{2, 5, 5, 7, 9, 3, 3, 1, 1};
  const Buffer x(DType::kBF16, uniform(g.x_size(), 1)), w(DType::kF32, uniform(g.w_size(), 2));
  const Buffer rounded(DType::kBF16, w.values());
  Buffer y(DType::kBF16, g.y_size());
  kernels::conv_forward(stream(), {.geometry = g, .x = x.read(), .w = w.read(), .y = y.write()});
  EXPECT_TRUE(close(y, reference::conv_forward(c, x.values(), rounded.values(), {}),
                    {.terms = static_cast<double>(g.window())}));
}

/// Winograd's convolution reads and writes bf16 activations and computes in f32, on every CPU.
TEST(ConvolutionTypes, Bf16ActivationsByWinograd) {
  if (kGpu) GTEST_SKIP() << "a GPU rounds the weights";
  const ConvGeometry g{3, 19, 22, 32, 48, 3, 3, 1, 1};
  const reference::Conv c{g.n, g.h, g.w, g.c, g.o, g.kh, g.kw, g.stride, g.pad};
  const int64_t tiles = 3 * 5 * 6;
  const Buffer x(DType::kBF16, uniform(g.x_size(), 1)), w(DType::kF32, uniform(g.w_size(), 2)),
      dy(DType::kBF16, uniform(g.y_size(), 3));
  const reference::WinogradAmplification winograd;
  const auto check = [&](const Buffer& got, reference::Sums expected, int64_t length,
                         double magnitude) {
    for (double& m : expected.magnitude) m = std::max(m, magnitude);
    EXPECT_TRUE(close(got, expected,
                      {.terms = static_cast<double>(length) + 2 +
                                reference::WinogradAmplification::kTransformRoundings}));
  };
  Buffer y(DType::kBF16, g.y_size()), dx(DType::kBF16, g.x_size()), dw(DType::kF32, g.w_size());
  kernels::conv_forward(stream(), {.geometry = g, .x = x.read(), .w = w.read(), .y = y.write()});
  check(y, reference::conv_forward(c, x.values(), w.values(), {}), g.window(),
        winograd.forward * static_cast<double>(g.c) * largest(x) * largest(w));
  kernels::conv_backward_data(stream(),
                              {.geometry = g, .dy = dy.read(), .w = w.read(), .dx = dx.write()});
  check(dx, reference::conv_backward_data(c, dy.values(), w.values()), 9 * g.o,
        winograd.forward * static_cast<double>(g.o) * largest(dy) * largest(w));
  kernels::conv_backward_weight(stream(),
                                {.geometry = g, .x = x.read(), .dy = dy.read(), .dw = dw.write()});
  check(dw, reference::conv_backward_weight(c, x.values(), dy.values()), g.n * g.oh() * g.ow(),
        winograd.weight * static_cast<double>(tiles) * largest(x) * largest(dy));
}

/// Of y before or after it is rounded to its type; on the CPU none.
TEST(ConvolutionSums, AreThoseOfTheResult) {
  constexpr DType kType = kGpu ? DType::kF16 : DType::kF32;
  for (const ConvGeometry& g :
       {ConvGeometry{3, 9, 7, 16, 24, 3, 3, 1, 1}, ConvGeometry{2, 12, 12, 3, 64, 3, 3, 2, 1},
        ConvGeometry{2, 8, 8, 32, 40, 1, 1, 1, 0}}) {
    const reference::Conv c{g.n, g.h, g.w, g.c, g.o, g.kh, g.kw, g.stride, g.pad};
    const Buffer x(kType, uniform(g.x_size(), 1, -1, 2)), w(kType, uniform(g.w_size(), 2));
    Buffer y(kType, g.y_size()), sums(DType::kF32, 2 * g.o);
    const bool summed = kernels::conv_forward(stream(), {.geometry = g,
                                                         .x = x.read(),
                                                         .w = w.read(),
                                                         .y = y.write(),
                                                         .sums = sums.write_as<float>()});
    EXPECT_TRUE(close(y, reference::conv_forward(c, x.values(), w.values(), {}),
                      {.terms = static_cast<double>(g.window()) + 2}));
    if (!kCuda) {
      EXPECT_FALSE(summed);
      for (const double v : sums.values()) ASSERT_TRUE(std::isnan(v)) << "written";
      continue;
    }
    if (kGpu && !summed) GTEST_SKIP() << "cuDNN offers no such engine on this GPU";
    ASSERT_TRUE(summed);
    const int64_t rows = g.y_size() / g.o;
    const Bound error{.terms = static_cast<double>(rows) + 2};
    const double unit = gamma(error.terms, unit_roundoff(DType::kF32)),
                 rounded = 1.01 * unit_roundoff(kType) / unit;
    reference::Sums expected(2 * g.o);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t o = 0; o < g.o; ++o) {
        const double v = y[r * g.o + o];
        expected.add(o, v, std::abs(v) * (1 + rounded));
        expected.add(g.o + o, v * v, v * v * (1 + 2 * rounded));
      }
    EXPECT_TRUE(close(sums, expected, error, {2, g.o}));
  }
}

TEST(ConvolutionSums, AreAskedForWhereTheStreamSaysSo) {
  for (const bool wanted : {false, true}) {
    StreamOptions options = stream_options(1);
    options.epilogue_statistics = wanted;
    const std::unique_ptr<Stream> s =
        make_stream(kCuda ? Device::cuda() : Device::cpu(), std::move(options));
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16})
      EXPECT_EQ(dispatch(*s, [&](auto& d) { return kernels::conv_may_sum(d, dtype); }),
                wanted && kCuda && dtype != DType::kF32);
  }
}

TEST(ConvolutionErrors, SumsOfSomethingElse) {
  const ConvGeometry g{1, 4, 4, 2, 3, 3, 3, 1, 1};
  const Buffer x(DType::kF32, uniform(g.x_size(), 1)), w(DType::kF32, uniform(g.w_size(), 2)),
      bias(DType::kF32, uniform(g.o, 3));
  Buffer y(DType::kF32, g.y_size()), sums(DType::kF32, 6), few(DType::kF32, 3);
  kernels::ConvForward a{.geometry = g, .x = x.read(), .w = w.read(), .y = y.write()};
  a.sums = few.write_as<float>();
  EXPECT_THROW(kernels::conv_forward(stream(), a), Error);
  a.sums = sums.write_as<float>();
  a.relu = true;
  EXPECT_THROW(kernels::conv_forward(stream(), a), Error);
  a.relu = false;
  a.bias = bias.read();
  EXPECT_THROW(kernels::conv_forward(stream(), a), Error);
}

TEST(ConvolutionErrors, SizesThatDisagree) {
  const ConvGeometry g{1, 4, 4, 2, 3, 3, 3, 1, 1};
  const Buffer x(DType::kF32, uniform(g.x_size(), 1)), w(DType::kF32, uniform(g.w_size() - 1, 2));
  Buffer y(DType::kF32, g.y_size());
  EXPECT_THROW(kernels::conv_forward(stream(),
                                     {.geometry = g, .x = x.read(), .w = w.read(), .y = y.write()}),
               Error);
}

TEST(ConvolutionErrors, WindowLargerThanThePaddedImage) {
  const ConvGeometry g{1, 2, 2, 1, 1, 5, 5, 1, 1};
  const Buffer x(DType::kF32, uniform(4, 1)), w(DType::kF32, uniform(25, 2));
  Buffer y(DType::kF32, 1);
  EXPECT_THROW(kernels::conv_forward(stream(),
                                     {.geometry = g, .x = x.read(), .w = w.read(), .y = y.write()}),
               Error);
}

}  // namespace
}  // namespace passnorm::test
