#include "kernels/passport.hpp"

#include "engine/ops/ops.hpp"
#include "kernels/elementwise.hpp"

namespace passnorm::ops {
namespace {

float* sink_or_null(Stream& stream, const Var& v) {
  if (!v.gradient) return nullptr;
  const GradientSink to = v.sink(stream);
  if (!to.accumulate) dispatch(stream, [&](auto& s) { kernels::fill(s, {.y = to.value.view()}); });
  return to.value.span().data();
}

std::vector<kernels::PassportSite> kernel_sites(const std::vector<ReadSite>& sites) {
  std::vector<kernels::PassportSite> out;
  int64_t offset = 0;
  for (const ReadSite& site : sites) {
    const int64_t o = site.weight.shape()[0], k = site.weight.value.size() / o;
    PASSNORM_CHECK(site.digest.value.size() == 2 * k, "digest ", site.digest.shape(),
                   " for weight ", site.weight.shape());
    out.push_back({.channels = o,
                   .window = k,
                   .w = site.weight.value.span().data(),
                   .bias = site.bias.value ? site.bias.value.span().data() : nullptr,
                   .m = site.digest.value.span().data(),
                   .offset = offset});
    offset += 2 * o;
  }
  return out;
}

}  // namespace

Var passport_digest(Tape& tape, const Var& keys, const kernels::ConvGeometry& geometry) {
  const int64_t size = geometry.h * geometry.w * geometry.c, window = geometry.window();
  PASSNORM_CHECK(keys.value.size() == 2 * size, "keys ", keys.shape(), " of ", size, " elements");
  Stream& stream = tape.stream();
  const Var digest =
      tape.result(Tensor::empty(stream, {2, window}), Lanes::only(Branch::kPassport), keys);
  for (const int64_t i : {0, 1})
    dispatch(stream, [&](auto& s) {
      kernels::passport_digest(s, {.geometry = geometry,
                                   .key = keys.value.slice(i * size, {size}).span(),
                                   .digest = digest.value.slice(i * window, {window}).span()});
    });
  tape.record(digest, [&stream, keys, geometry, size, window](const Tensor& ddigest) {
    const GradientSink to = keys.sink(stream);
    const Tensor dkeys = to.accumulate ? Tensor::empty(stream, keys.shape()) : to.value;
    dispatch(stream, [&](auto& s) {
      for (const int64_t i : {0, 1})
        kernels::passport_digest_backward(s, {.geometry = geometry,
                                              .ddigest = ddigest.slice(i * window, {window}).span(),
                                              .dkey = dkeys.slice(i * size, {size}).span()});
      if (to.accumulate) kernels::add_to(s, {.x = dkeys.view(), .y = to.value.view()});
    });
  });
  return digest;
}

Var passport_read(Tape& tape, const std::vector<ReadSite>& sites) {
  Stream& stream = tape.stream();
  const auto list = kernel_sites(sites);
  const int64_t total = list.empty() ? 0 : list.back().offset + 2 * list.back().channels;
  Var raw{Tensor::empty(stream, {total}), Lanes::only(Branch::kPassport), nullptr};
  bool differentiable = false;
  for (const ReadSite& site : sites)
    differentiable |= site.weight.gradient || site.bias.gradient || site.digest.gradient;
  if (tape.recording() && differentiable) raw.gradient = std::make_shared<Gradient>();
  dispatch(stream,
           [&](auto& s) { kernels::passport_read(s, {.sites = list, .raw = raw.value.span()}); });
  tape.record(raw, [&stream, sites](const Tensor& draw) {
    std::vector<float*> dw, dbias, dm;
    std::vector<Tensor> digests;  // the kernel overwrites, and several sites may read one digest
    for (const ReadSite& site : sites) {
      dw.push_back(sink_or_null(stream, site.weight));
      dbias.push_back(sink_or_null(stream, site.bias));
      digests.push_back(site.digest.gradient ? Tensor::empty(stream, site.digest.shape())
                                             : Tensor());
      dm.push_back(digests.back() ? digests.back().span().data() : nullptr);
    }
    dispatch(stream, [&](auto& s) {
      kernels::passport_read_backward(
          s,
          {.sites = kernel_sites(sites), .draw = draw.span(), .dw = dw, .dbias = dbias, .dm = dm});
      for (size_t i = 0; i < sites.size(); ++i)
        if (digests[i] && sink_or_null(stream, sites[i].digest))
          kernels::add_to(s, {.x = digests[i].view(), .y = sites[i].digest.gradient->value.view()});
    });
  });
  return raw;
}

Var gate(Tape& tape, const Var& raw, const std::vector<GateSite>& sites) {
  Stream& stream = tape.stream();
  std::vector<kernels::GateSite> list;
  int64_t offset = 0, hidden_total = 0;
  for (const GateSite& site : sites) {
    if (site.a1.value) {
      const int64_t hidden = site.a1.shape()[0];
      list.push_back({.channels = site.channels,
                      .hidden = hidden,
                      .a1 = site.a1.value.span().data(),
                      .a2 = site.a2.value.span().data(),
                      .offset = offset,
                      .hidden_offset = hidden_total});
      hidden_total += 2 * hidden;
    }
    offset += 2 * site.channels;
  }
  PASSNORM_CHECK(offset == raw.value.size(), "gate of ", offset, " channels for raw ", raw.shape());
  if (list.empty()) return raw;
  PASSNORM_CHECK(list.size() == sites.size(), "all sites are gated, or none");

  Var used{Tensor::empty(stream, raw.shape()), raw.lanes, nullptr};
  bool differentiable = static_cast<bool>(raw.gradient);
  for (const GateSite& site : sites) differentiable |= site.a1.gradient || site.a2.gradient;
  if (tape.recording() && differentiable) used.gradient = std::make_shared<Gradient>();
  const Tensor hidden = Tensor::empty(stream, {hidden_total});
  dispatch(stream, [&](auto& s) {
    kernels::gate(s, {.sites = list,
                      .raw = raw.value.span(),
                      .hidden = hidden.span(),
                      .used = used.value.span()});
  });
  tape.record(used, [&stream, sites, list, raw, hidden](const Tensor& dused) {
    std::vector<float*> da1, da2;
    for (const GateSite& site : sites) {
      da1.push_back(sink_or_null(stream, site.a1));
      da2.push_back(sink_or_null(stream, site.a2));
    }
    float* draw = sink_or_null(stream, raw);
    dispatch(stream, [&](auto& s) {
      kernels::gate_backward(s, {.sites = list,
                                 .raw = raw.value.span(),
                                 .hidden = hidden.span(),
                                 .dused = dused.span(),
                                 .draw = draw ? raw.gradient->value.span() : std::span<float>(),
                                 .da1 = da1,
                                 .da2 = da2});
    });
  });
  return used;
}

SignLosses sign_loss(Tape& tape, const Var& raw, const std::vector<int64_t>& channels,
                     const Tensor& bits, const SignLossOptions& o, const SignLosses& to) {
  Stream& stream = tape.stream();
  std::vector<kernels::SignSite> list;
  int64_t channel = 0;
  for (int64_t c : channels) {
    list.push_back(
        {.channels = c, .offset = 2 * channel, .bits = bits.span<int8_t>().data() + channel});
    channel += c;
  }
  PASSNORM_CHECK(bits.size() == channel && raw.value.size() == 2 * channel, "bits ", bits.shape(),
                 ", raw ", raw.shape());
  const auto n = static_cast<int64_t>(channels.size());
  const SignLosses result =
      to.loss ? to
              : SignLosses{Tensor::empty(stream, {n}), Tensor::empty(stream, {n}, DType::kI32)};
  std::span<float> draw;
  if (tape.differentiates(raw)) {
    sink_or_null(stream, raw);  // starts from zero where nothing was written yet
    draw = raw.gradient->value.span();
  }
  dispatch(stream, [&](auto& s) {
    kernels::sign_loss(s, {.sites = list,
                           .raw = raw.value.span(),
                           .alpha = o.alpha,
                           .margin = o.margin,
                           .decay = o.decay,
                           .loss = result.loss.span(),
                           .matched = result.matched.span<int32_t>(),
                           .draw = draw,
                           .loss_scale = tape.loss_scale()});
  });
  return result;
}

}  // namespace passnorm::ops
