#include "bench/kernels.hpp"

#include <benchmark/benchmark.h>

#include <exception>
#include <functional>
#include <regex>

#include "bench/cases/convolution.hpp"
#include "bench/cases/gemm.hpp"
#include "bench/cases/norm.hpp"
#include "bench/ceilings.hpp"
#include "bench/timing.hpp"
#include "engine/io/text.hpp"
#include "engine/tensor/tensor.hpp"
#include "kernels/augment.hpp"
#include "kernels/convolution.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/gemm.hpp"
#include "kernels/loss.hpp"
#include "kernels/norm.hpp"
#include "kernels/optimizer.hpp"
#include "kernels/passport.hpp"
#include "kernels/pooling.hpp"
#include "kernels/reduce.hpp"
#include "kernels/runtime/random.hpp"
#include "kernels/transform.hpp"

namespace passnorm::bench {
namespace {

using kernels::NormActivation;

/// A kernel on one shape. `prepare` takes the memory and returns the call.
struct Kernel {
  std::string name;
  DType dtype = DType::kF32;
  double flops = 0, bytes = 0;
  std::function<std::function<void()>(CpuStream&)> prepare;
};

/// Elements in [-1, 1) that do not repeat within a cache line of any kernel's tile.
Tensor operand(CpuStream& stream, int64_t n, DType dtype = DType::kF32) {
  std::vector<float> values(static_cast<size_t>(n));
  uint32_t x = 1;
  for (float& v : values) {
    x = 1664525u * x + 1013904223u;
    v = static_cast<float>(x) * 0x1p-31f - 1;
  }
  const Tensor t = Tensor::from<float>(stream, {n}, values);
  if (dtype == DType::kF32) return t;
  const Tensor converted = Tensor::empty(stream, {n}, dtype);
  kernels::cast(stream, {.x = t.view(), .y = converted.view()});
  return converted;
}

Tensor result(CpuStream& stream, int64_t n, DType dtype = DType::kF32) {
  return Tensor::zeros(stream, {n}, dtype);
}

double size(DType dtype) { return static_cast<double>(size_of(dtype)); }
double f64(int64_t n) { return static_cast<double>(n); }

constexpr std::array kStorage{DType::kF32, DType::kBF16};

class Catalogue {
 public:
  explicit Catalogue(int64_t samples) : n_(samples) {
    for (const DType dtype : kStorage) {
      for (const cases::ConvCase& c : cases::layer_convolutions(n_)) convolution(c, dtype);
      for (const cases::NormCase& c : cases::layer_norms(n_)) norm(c, dtype);
      pooling(dtype);
      elementwise(dtype);
    }
    for (const cases::GemmCase& c : cases::gemms()) gemm(c);
    flat();
    passport();
    edges();
  }
  std::vector<Kernel> kernels() && { return std::move(kernels_); }

 private:
  void add(std::string_view name, std::string_view shape, DType dtype, double flops, double bytes,
           std::function<std::function<void()>(CpuStream&)> prepare) {
    kernels_.push_back(
        {concat(name, '/', shape, '/', name_of(dtype)), dtype, flops, bytes, std::move(prepare)});
  }

  void convolution(const cases::ConvCase& c, DType dtype) {
    const kernels::ConvGeometry g{.n = c.n,
                                  .h = c.h,
                                  .w = c.w,
                                  .c = c.c,
                                  .o = c.o,
                                  .kh = c.kh,
                                  .kw = c.kw,
                                  .stride = c.stride,
                                  .pad = c.pad};
    const double bytes = c.bytes(size(dtype));
    add("conv/forward", c.name, dtype, c.flops(), bytes, [g, dtype](CpuStream& s) {
      return [&s, g, x = operand(s, g.x_size(), dtype), w = operand(s, g.w_size()),
              y = result(s, g.y_size(), dtype)] {
        kernels::conv_forward(s, {.geometry = g, .x = x.view(), .w = w.view(), .y = y.view()});
      };
    });
    add("conv/backward_data", c.name, dtype, c.flops(), bytes, [g, dtype](CpuStream& s) {
      return [&s, g, dy = operand(s, g.y_size(), dtype), w = operand(s, g.w_size()),
              dx = result(s, g.x_size(), dtype)] {
        kernels::conv_backward_data(
            s, {.geometry = g, .dy = dy.view(), .w = w.view(), .dx = dx.view()});
      };
    });
    add("conv/backward_weight", c.name, dtype, c.flops(), bytes, [g, dtype](CpuStream& s) {
      return [&s, g, x = operand(s, g.x_size(), dtype), dy = operand(s, g.y_size(), dtype),
              dw = result(s, g.w_size())] {
        kernels::conv_backward_weight(
            s, {.geometry = g, .x = x.view(), .dy = dy.view(), .dw = dw.view()});
      };
    });
  }

  /// Batch norm with scale, shift and ReLU: what a passport layer's passport branch does.
  struct Norm {
    CpuStream& stream;
    kernels::NormGeometry geometry;
    bool fork;
    Tensor x, y, dy, dx, mean, rstd, scale, shift, dscale, dshift;

    Norm(CpuStream& s, const cases::NormCase& c, DType dtype, bool forked)
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
      kernels::norm_statistics(
          stream, {.geometry = geometry, .x = x.view(), .mean = mean.span(), .rstd = rstd.span()});
    }
    void apply() const {
      kernels::norm_apply(stream, {.geometry = geometry,
                                   .lanes = lanes(),
                                   .fork = fork,
                                   .activation = NormActivation::kRelu,
                                   .x = x.view(),
                                   .lane = affines(),
                                   .y = y.view()});
    }
    void backward() const {
      kernels::norm_backward(stream, {.geometry = geometry,
                                      .lanes = lanes(),
                                      .fork = fork,
                                      .activation = NormActivation::kRelu,
                                      .x = x.view(),
                                      .dy = dy.view(),
                                      .lane = affines(),
                                      .dscale = {lane<float>(dscale, 0), lane<float>(dscale, 1)},
                                      .dshift = {lane<float>(dshift, 0), lane<float>(dshift, 1)},
                                      .dx = dx.view()});
    }
  };

  void norm(const cases::NormCase& c, DType dtype) {
    const double forward = c.forward_bytes(size(dtype)), backward = c.backward_bytes(size(dtype)),
                 tensor = forward / 2;
    const auto add_norm = [&](const char* name, double bytes, bool fork, auto call) {
      add(name, c.name, dtype, 0, bytes, [c, dtype, fork, call](CpuStream& s) {
        const auto norm = std::make_shared<Norm>(s, c, dtype, fork);
        norm->statistics();
        return [norm, call] { call(*norm); };
      });
    };
    add_norm("norm/statistics", tensor, false, [](const Norm& n) { n.statistics(); });
    add_norm("norm/forward", forward, false, [](const Norm& n) { n.statistics(), n.apply(); });
    add_norm("norm/backward", backward, false, [](const Norm& n) { n.backward(); });
    add_norm("norm/both", forward + backward, false,
             [](const Norm& n) { n.statistics(), n.apply(), n.backward(); });
    add_norm("norm/fork", 3 * tensor + 4 * tensor, true,
             [](const Norm& n) { n.statistics(), n.apply(), n.backward(); });
  }

  void pooling(DType dtype) {
    const kernels::PoolGeometry g{.n = n_, .h = 32, .w = 32, .c = 64};
    const int64_t in = g.n * g.h * g.w * g.c, out = g.n * g.oh() * g.ow() * g.c;
    const double bytes = size(dtype) * f64(in + out) + f64(out);
    add("pool/max_forward", "32x32x64", dtype, 0, bytes, [=](CpuStream& s) {
      return [&s, g, x = operand(s, in, dtype), y = result(s, out, dtype),
              argmax = result(s, out, DType::kU8)] {
        kernels::max_pool_forward(
            s, {.geometry = g, .x = x.view(), .y = y.view(), .argmax = argmax.span<uint8_t>()});
      };
    });
    add("pool/max_backward", "32x32x64", dtype, 0, bytes, [=](CpuStream& s) {
      return [&s, g, dy = operand(s, out, dtype), dx = result(s, in, dtype),
              argmax = result(s, out, DType::kU8)] {
        kernels::max_pool_backward(
            s, {.geometry = g, .dy = dy.view(), .argmax = argmax.span<uint8_t>(), .dx = dx.view()});
      };
    });
    const int64_t n = n_, positions = 16, c = 512;
    const double mean_bytes = size(dtype) * f64(n * (positions + 1) * c);
    add("pool/mean_forward", "4x4x512", dtype, 0, mean_bytes, [=](CpuStream& s) {
      return [=, &s, x = operand(s, n * positions * c, dtype), y = result(s, n * c, dtype)] {
        kernels::global_mean_forward(
            s, {.n = n, .s = positions, .c = c, .x = x.view(), .y = y.view()});
      };
    });
    add("pool/mean_backward", "4x4x512", dtype, 0, mean_bytes, [=](CpuStream& s) {
      return [=, &s, dy = operand(s, n * c, dtype), dx = result(s, n * positions * c, dtype)] {
        kernels::global_mean_backward(
            s, {.n = n, .s = positions, .c = c, .dy = dy.view(), .dx = dx.view()});
      };
    });
  }

  void elementwise(DType dtype) {
    const int64_t n = n_ * 16 * 16 * 128;
    const std::string shape = "16x16x128";
    const double tensor = size(dtype) * f64(n);
    add("elementwise/fill", shape, dtype, 0, tensor, [=](CpuStream& s) {
      return [&s, y = result(s, n, dtype)] { kernels::fill(s, {.y = y.view(), .value = 1}); };
    });
    if (dtype != DType::kF32)
      add("elementwise/cast", shape, dtype, 0, tensor + 4 * f64(n), [=](CpuStream& s) {
        return [&s, x = operand(s, n), y = result(s, n, dtype)] {
          kernels::cast(s, {.x = x.view(), .y = y.view()});
        };
      });
    add("elementwise/add_to", shape, dtype, 0, 3 * tensor, [=](CpuStream& s) {
      return [&s, x = operand(s, n, dtype), y = result(s, n, dtype)] {
        kernels::add_to(s, {.x = x.view(), .y = y.view(), .alpha = 1e-3f});
      };
    });
    add("elementwise/add_relu", shape, dtype, 0, 3 * tensor, [=](CpuStream& s) {
      return [&s, a = operand(s, n, dtype), b = operand(s, n, dtype), y = result(s, n, dtype)] {
        kernels::add(s, {.a = a.view(), .b = b.view(), .y = y.view(), .relu = true});
      };
    });
    add("elementwise/relu_backward", shape, dtype, 0, 3 * tensor, [=](CpuStream& s) {
      return [&s, y = operand(s, n, dtype), dy = operand(s, n, dtype), dx = result(s, n, dtype)] {
        kernels::relu_backward(s, {.y = y.view(), .dy = dy.view(), .dx = dx.view()});
      };
    });
  }

  void gemm(const cases::GemmCase& c) {
    add("gemm/multiply", concat(c.m, "x", c.n, "x", c.k), DType::kF32, c.flops(), c.bytes(4),
        [c](CpuStream& s) {
          return [&s, c, a = operand(s, c.m * c.k), b = operand(s, c.k * c.n),
                  y = result(s, c.m * c.n)] {
            kernels::gemm(
                s, {.m = c.m, .n = c.n, .k = c.k, .a = a.view(), .b = b.view(), .y = y.view()});
          };
        });
  }

  /// Over all parameters of a ResNet-18, and its loss.
  void flat() {
    constexpr int64_t kParameters = 11'173'962;
    const double arena = 4 * f64(kParameters);
    add("optimizer/sgd", "resnet18", DType::kF32, 0, 5 * arena, [](CpuStream& s) {
      return [&s, w = operand(s, kParameters), g = operand(s, kParameters),
              m = result(s, kParameters)] {
        kernels::sgd_step(s, {.w = w.span(),
                              .g = g.span(),
                              .momentum_buffer = m.span(),
                              .lr = 1e-6f,
                              .weight_decay = 5e-4f});
      };
    });
    add("optimizer/adam", "resnet18", DType::kF32, 0, 7 * arena, [](CpuStream& s) {
      return [&s, w = operand(s, kParameters), g = operand(s, kParameters),
              m = result(s, kParameters), v = result(s, kParameters)] {
        kernels::adam_step(
            s, {.w = w.span(), .g = g.span(), .m = m.span(), .v = v.span(), .lr = 1e-6f});
      };
    });
    add("reduce/sum_squares", "resnet18", DType::kF32, 0, arena, [](CpuStream& s) {
      return [&s, x = operand(s, kParameters)] {
        benchmark::DoNotOptimize(kernels::sum_squares(s, x.span()));
      };
    });
    add("reduce/count_nonfinite", "resnet18", DType::kF32, 0, arena, [](CpuStream& s) {
      return [&s, x = operand(s, kParameters)] {
        benchmark::DoNotOptimize(kernels::count_nonfinite(s, x.span()));
      };
    });
    const int64_t n = n_, classes = 100;
    add("loss/cross_entropy", "100", DType::kF32, 0, 8 * f64(2 * n * classes), [=](CpuStream& s) {
      return
          [=, &s, logits = operand(s, 2 * n * classes), labels = result(s, n, DType::kI32),
           loss = result(s, 2), hits = result(s, 2, DType::kI32), d = result(s, 2 * n * classes)] {
            kernels::cross_entropy(s, {.lanes = 2,
                                       .rows = n,
                                       .classes = classes,
                                       .logits = logits.span(),
                                       .labels = labels.span<int32_t>(),
                                       .loss = loss.span(),
                                       .hits = hits.span<int32_t>(),
                                       .dlogits = d.span()});
          };
    });
  }

  /// A passport on every layer that bench/cases lists of a ResNet-18.
  struct Sites {
    CpuStream& stream;
    std::vector<kernels::PassportSite> read;
    std::vector<kernels::GateSite> gates;
    std::vector<kernels::SignSite> signs;
    int64_t raw_size = 0, hidden_size = 0;
    std::vector<Tensor> memory;
    std::vector<float*> dw, da1, da2;
    Tensor raw, hidden, used, draw, dused, bits, loss, matched;

    static std::vector<cases::ConvCase> layers() {
      std::vector<cases::ConvCase> all = cases::layer_convolutions(1);
      std::erase_if(all,
                    [](const auto& c) { return !std::string_view(c.name).starts_with("resn"); });
      return all;
    }
    float* take(int64_t n) {
      memory.push_back(operand(stream, n));
      return memory.back().span().data();
    }
    explicit Sites(CpuStream& s) : stream(s) {
      for (const cases::ConvCase& c : layers()) {
        const int64_t window = c.kh * c.kw * c.c, inner = c.o / 4;
        read.push_back({.channels = c.o,
                        .window = window,
                        .w = take(c.o * window),
                        .m = take(2 * window),
                        .offset = raw_size});
        gates.push_back({.channels = c.o,
                         .hidden = inner,
                         .a1 = take(inner * c.o),
                         .a2 = take(c.o * inner),
                         .offset = raw_size,
                         .hidden_offset = hidden_size});
        dw.push_back(take(c.o * window));
        da1.push_back(take(inner * c.o));
        da2.push_back(take(c.o * inner));
        raw_size += 2 * c.o;
        hidden_size += 2 * inner;
      }
      raw = operand(s, raw_size), hidden = operand(s, hidden_size), used = operand(s, raw_size);
      draw = result(s, raw_size), dused = operand(s, raw_size);
      const std::vector<int8_t> ones(static_cast<size_t>(raw_size), 1);
      bits = Tensor::from<int8_t>(s, {raw_size}, ones);
      for (const kernels::GateSite& g : gates)
        signs.push_back({g.channels, g.offset, bits.span<int8_t>().data() + g.offset});
      const auto count = static_cast<int64_t>(signs.size());
      loss = result(s, count), matched = result(s, count, DType::kI32);
    }
  };

  void passport() {
    double weights = 0, gate_weights = 0, channels = 0;
    for (const cases::ConvCase& c : Sites::layers()) {
      weights += 4 * f64(c.o * c.kh * c.kw * c.c);
      gate_weights += 4 * f64(c.o * (c.o / 4) * 2);
      channels += f64(c.o);
    }
    const auto add_sites = [&](const char* name, double bytes, auto call) {
      add(name, "resnet_layers", DType::kF32, 0, bytes, [call](CpuStream& s) {
        return [sites = std::make_shared<Sites>(s), call] { call(*sites); };
      });
    };
    add_sites("passport/read", weights, [](const Sites& p) {
      kernels::passport_read(p.stream, {.sites = p.read, .raw = p.raw.span()});
    });
    add_sites("passport/read_backward", 2 * weights, [](const Sites& p) {
      kernels::passport_read_backward(p.stream,
                                      {.sites = p.read, .draw = p.raw.span(), .dw = p.dw});
    });
    add_sites("passport/gate", gate_weights, [](const Sites& p) {
      kernels::gate(p.stream, {.sites = p.gates,
                               .raw = p.raw.span(),
                               .hidden = p.hidden.span(),
                               .used = p.used.span()});
    });
    add_sites("passport/gate_backward", 3 * gate_weights, [](const Sites& p) {
      kernels::gate_backward(p.stream, {.sites = p.gates,
                                        .raw = p.raw.span(),
                                        .hidden = p.hidden.span(),
                                        .dused = p.dused.span(),
                                        .draw = p.draw.span(),
                                        .da1 = p.da1,
                                        .da2 = p.da2});
    });
    add_sites("passport/sign_loss", 13 * channels, [](const Sites& p) {
      kernels::sign_loss(p.stream, {.sites = p.signs,
                                    .raw = p.raw.span(),
                                    .loss = p.loss.span(),
                                    .matched = p.matched.span<int32_t>(),
                                    .draw = p.draw.span()});
    });
    const cases::ConvCase c = Sites::layers()[1];
    const kernels::ConvGeometry g{
        .n = 1, .h = c.h, .w = c.w, .c = c.c, .o = c.o, .kh = c.kh, .kw = c.kw, .pad = c.pad};
    add("passport/digest", c.name, DType::kF32, 0, 4 * f64(g.x_size() + g.window()),
        [g](CpuStream& s) {
          return [&s, g, key = operand(s, g.x_size()), digest = result(s, g.window())] {
            kernels::passport_digest(s,
                                     {.geometry = g, .key = key.span(), .digest = digest.span()});
          };
        });
  }

  void edges() {
    const int64_t n = n_, side = 32, images = 1000;
    add("augment/crop_flip", "32x32x3", DType::kF32, 0, 5 * f64(n * side * side * 3),
        [=](CpuStream& s) {
          std::vector<int64_t> order(static_cast<size_t>(n));
          for (int64_t i = 0; i < n; ++i) order[static_cast<size_t>(i)] = i * 37 % images;
          return
              [=, &s, pixels = result(s, images * side * side * 3, DType::kU8),
               index = Tensor::from<int64_t>(s, {n}, order), y = result(s, n * side * side * 3)] {
                kernels::augment(s, {.n = n,
                                     .h = side,
                                     .w = side,
                                     .c = 3,
                                     .images = pixels.span<uint8_t>(),
                                     .index = index.span<int64_t>(),
                                     .pad = 4,
                                     .flip = true,
                                     .y = y.view()});
              };
        });
    const int64_t c = 128, positions = 256;
    add("transform/to_channels_last", "16x16x128", DType::kF32, 0, 8 * f64(n * c * positions),
        [=](CpuStream& s) {
          return [=, &s, x = operand(s, n * c * positions), y = result(s, n * c * positions)] {
            kernels::to_channels_last(
                s, {.b = n, .c = c, .s = positions, .x = x.span(), .y = y.span()});
          };
        });
  }

  int64_t n_;
  std::vector<Kernel> kernels_;
};

std::vector<Kernel> selected(const KernelBench& o) {
  std::vector<Kernel> kernels = Catalogue(o.samples).kernels();
  try {
    const std::regex wanted(o.filter);
    std::erase_if(kernels, [&](const Kernel& k) { return !std::regex_search(k.name, wanted); });
  } catch (const std::regex_error&) {
    fail(Fault::kUsage, quote(o.filter), " is not a regular expression");
  }
  if (kernels.empty()) fail(Fault::kUsage, "no kernel's name has ", quote(o.filter), " in it");
  return kernels;
}

/// Takes every repetition's time per call; prints nothing.
class Collector final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs)
      if (run.run_type == Run::RT_Iteration && !run.error_occurred)
        seconds.push_back(run.real_accumulated_time / static_cast<double>(run.iterations));
  }
  std::vector<double> seconds;
};

/// By Google Benchmark, which finds how many calls fill the time. Empty, with the reason, when
/// this machine has no such kernel.
std::vector<double> measure(CpuStream& stream, const Kernel& kernel, const KernelBench& o,
                            std::string& skipped) {
  std::exception_ptr error;
  benchmark::ClearRegisteredBenchmarks();
  benchmark::RegisterBenchmark(kernel.name.c_str(),
                               [&](benchmark::State& state) {
                                 try {
                                   const std::function<void()> call = kernel.prepare(stream);
                                   call();  // makes plans and touches memory
                                   for (auto _ : state) call();
                                 } catch (const Error& e) {
                                   state.SkipWithError(e.what());
                                   if (e.fault() == Fault::kMachine)
                                     skipped = e.what();
                                   else
                                     error = std::current_exception();
                                 }
                               })
      ->UseRealTime()
      ->MinTime(std::max(o.seconds, 1e-4))  // Google Benchmark refuses 0
      ->Repetitions(o.repetitions);
  Collector collector;
  benchmark::RunSpecifiedBenchmarks(&collector, nullptr, ".*");
  benchmark::ClearRegisteredBenchmarks();
  if (error) std::rethrow_exception(error);
  return collector.seconds;
}

}  // namespace

std::vector<std::string> kernel_names(const KernelBench& options) {
  std::vector<std::string> names;
  for (const Kernel& k : selected(options)) names.push_back(k.name);
  return names;
}

KernelReport time_kernels(CpuStream& stream, const KernelBench& o) {
  Ceilings ceilings(stream);
  KernelReport report;
  for (const Kernel& kernel : selected(o)) {
    KernelTime time{.name = kernel.name, .flops = kernel.flops, .bytes = kernel.bytes};
    const std::vector<double> seconds = measure(stream, kernel, o, time.skipped);
    if (time.skipped.empty()) {
      const auto [least, most] = std::ranges::minmax(seconds);
      time.median = median(seconds), time.least = least, time.most = most;
      const bool arithmetic = kernel.flops > 0;
      const double ceiling =
          arithmetic ? ceilings.multiply_add(kernel.dtype) : ceilings.copy(kernel.bytes);
      time.ceiling = arithmetic ? concat("multiply-add ", name_of(kernel.dtype))
                                : Ceilings::copy_name(kernel.bytes);
      const double work = arithmetic ? kernel.flops : kernel.bytes;
      if (ceiling > 0) time.share = work / time.median / ceiling;
    }
    report.kernels.push_back(std::move(time));
  }
  report.ceilings = ceilings.measured();
  return report;
}

}  // namespace passnorm::bench
