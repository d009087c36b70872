#include "bench/catalogue.hpp"
#include "kernels/passport.hpp"

namespace passnorm::bench {
namespace {

struct Layer {
  int64_t channels, window;
};

/// Every convolution of a ResNet-18 on small images.
std::vector<Layer> resnet18() {
  std::vector<Layer> layers{{64, 27}};
  for (int64_t o = 64, in = 64; o <= 512; in = o, o *= 2) {
    layers.push_back({o, 9 * in});
    if (o != in) layers.push_back({o, in});  // the shortcut
    for (int k = 0; k < 3; ++k) layers.push_back({o, 9 * o});
  }
  return layers;
}

/// A passport on each of them.
struct Sites {
  Stream& stream;
  std::vector<kernels::PassportSite> read;
  std::vector<kernels::GateSite> gates;
  std::vector<kernels::SignSite> signs;
  int64_t raw_size = 0, hidden_size = 0;
  std::vector<Tensor> memory;
  std::vector<float*> dw, da1, da2;
  Tensor raw, hidden, used, draw, dused, bits, loss, matched;

  float* take(int64_t n) {
    memory.push_back(operand(stream, n));
    return memory.back().span().data();
  }
  explicit Sites(Stream& s) : stream(s) {
    for (const auto& [o, window] : resnet18()) {
      const int64_t inner = o / 4;
      read.push_back({.channels = o,
                      .window = window,
                      .w = take(o * window),
                      .m = take(2 * window),
                      .offset = raw_size});
      gates.push_back({.channels = o,
                       .hidden = inner,
                       .a1 = take(inner * o),
                       .a2 = take(o * inner),
                       .offset = raw_size,
                       .hidden_offset = hidden_size});
      dw.push_back(take(o * window));
      da1.push_back(take(inner * o));
      da2.push_back(take(o * inner));
      raw_size += 2 * o;
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

  void run_read() const {
    dispatch(stream,
             [&](auto& s) { kernels::passport_read(s, {.sites = read, .raw = raw.span()}); });
  }
  void run_read_backward() const {
    dispatch(stream, [&](auto& s) {
      kernels::passport_read_backward(s, {.sites = read, .draw = draw.span(), .dw = dw});
    });
  }
  void run_gate() const {
    dispatch(stream, [&](auto& s) {
      kernels::gate(
          s, {.sites = gates, .raw = raw.span(), .hidden = hidden.span(), .used = used.span()});
    });
  }
  void run_gate_backward() const {
    dispatch(stream, [&](auto& s) {
      kernels::gate_backward(s, {.sites = gates,
                                 .raw = raw.span(),
                                 .hidden = hidden.span(),
                                 .dused = dused.span(),
                                 .draw = draw.span(),
                                 .da1 = da1,
                                 .da2 = da2});
    });
  }
  void run_sign_loss() const {
    dispatch(stream, [&](auto& s) {
      kernels::sign_loss(s, {.sites = signs,
                             .raw = raw.span(),
                             .loss = loss.span(),
                             .matched = matched.span<int32_t>(),
                             .draw = draw.span()});
    });
  }
  /// What a step adds to that of a network without passports, the norms' affines aside.
  void run_all(bool gated) const {
    run_read();
    if (gated) run_gate();
    run_sign_loss();
    if (gated) run_gate_backward();
    run_read_backward();
  }
};

}  // namespace

void add_passports(Catalogue& all) {
  double weights = 0, gate_weights = 0, channels = 0;
  for (const auto& [o, window] : resnet18()) {
    weights += 4 * f64(o * window);
    gate_weights += 4 * f64(o * (o / 4) * 2);
    channels += f64(o);
  }
  const auto add_sites = [&](const char* name, double bytes, auto call) {
    all.add(name, "resnet18", DType::kF32, 0, bytes, [call](Stream& s) -> Call {
      return [sites = std::make_shared<Sites>(s), call] { call(*sites); };
    });
  };
  add_sites("passport/read", weights, [](const Sites& p) { p.run_read(); });
  add_sites("passport/read_backward", 2 * weights, [](const Sites& p) { p.run_read_backward(); });
  add_sites("passport/gate", gate_weights, [](const Sites& p) { p.run_gate(); });
  add_sites("passport/gate_backward", 3 * gate_weights,
            [](const Sites& p) { p.run_gate_backward(); });
  add_sites("passport/sign_loss", 13 * channels, [](const Sites& p) { p.run_sign_loss(); });
  add_sites("passport/all_deepipr", 3 * weights, [](const Sites& p) { p.run_all(false); });
  add_sites("passport/all_pan", 3 * weights + 4 * gate_weights,
            [](const Sites& p) { p.run_all(true); });

  const kernels::ConvGeometry g{
      .n = 1, .h = 32, .w = 32, .c = 64, .o = 64, .kh = 3, .kw = 3, .pad = 1};
  all.add("passport/digest", "resnet_layer1", DType::kF32, 0, 4 * f64(g.x_size() + g.window()),
          [g](Stream& s) -> Call {
            return [&s, g, key = operand(s, g.x_size()), digest = result(s, g.window())] {
              dispatch(s, [&](auto& d) {
                kernels::passport_digest(
                    d, {.geometry = g, .key = key.span(), .digest = digest.span()});
              });
            };
          });
}

}  // namespace passnorm::bench
