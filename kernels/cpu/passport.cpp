#include "kernels/passport.hpp"

#include <algorithm>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/passport.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/simd-inl.hpp"
#include "kernels/passport_common.hpp"
#include "kernels/runtime/parallel.hpp"
#include "kernels/runtime/scratch.hpp"

#ifndef PASSNORM_KERNELS_CPU_PASSPORT_CPP
#define PASSNORM_KERNELS_CPU_PASSPORT_CPP
namespace passnorm::kernels {
namespace {

// Every product below is of one matrix with two vectors, scale and shift, so that the matrix is
// read once.

/// y_i = w m_i + bias
struct Product {
  int64_t rows = 0, columns = 0;
  const float* w = nullptr;     // [rows, columns]
  const float* bias = nullptr;  // [rows] or null
  const float* m[2] = {};       // [columns] each
  float* y[2] = {};             // [rows] each
};

/// dm_i = w^T g_i
struct TransposedProduct {
  int64_t rows = 0, columns = 0;
  const float* w = nullptr;  // [rows, columns]
  const float* g[2] = {};    // [rows] each
  float* dm[2] = {};         // [columns] each
  bool accumulate = false;   // add to dm
};

/// dw += g_0 m_0^T + g_1 m_1^T, dbias += g_0 + g_1
struct RankTwo {
  int64_t rows = 0, columns = 0;
  const float* g[2] = {};  // [rows] each
  const float* m[2] = {};  // [columns] each
  float* dw = nullptr;     // [rows, columns] or null
  float* dbias = nullptr;  // [rows] or null
};

/// Calls f(job, first, last) for ranges of each job's items that cover all of them; all jobs share
/// one parallel loop, and threads get equal numbers of matrix elements.
template <class Job, class F>
void share(CpuStream& stream, const std::vector<Job>& jobs, int64_t Job::*items,
           int64_t Job::*weight, F&& f) {
  int64_t total = 0;
  for (const Job& job : jobs) {
    PASSNORM_CHECK(job.rows > 0 && job.columns > 0, "a matrix of ", job.rows, " x ", job.columns);
    total += job.rows * job.columns;
  }
  parallel_for(stream, total, 16384, [&](int64_t begin, int64_t end) {
    int64_t offset = 0;
    for (const Job& job : jobs) {
      const int64_t count = job.*items, size = job.*weight;
      const auto item_at = [&](int64_t element) {
        return std::clamp<int64_t>((element - offset + size - 1) / size, 0, count);
      };
      const int64_t first = begin <= offset ? 0 : item_at(begin),
                    last = end <= offset ? 0 : item_at(end);
      if (first < last) f(job, first, last);
      offset += count * size;
    }
  });
}

}  // namespace
}  // namespace passnorm::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {
namespace {

/// Rows [row, row + kRows) of a product. A row's order of summation does not depend on kRows.
template <int kRows>
void multiply_rows(const Product& p, int64_t row) {
  const float* w = p.w + row * p.columns;
  const Wide wide;
  const Single single;
  const auto lanes = static_cast<int64_t>(hn::Lanes(wide));
  hn::Vec<Wide> sum[kRows][2];
  for (auto& s : sum) s[0] = s[1] = hn::Zero(wide);
  int64_t i = 0;
  for (; i + lanes <= p.columns; i += lanes) {
    const auto m0 = load(wide, p.m[0] + i), m1 = load(wide, p.m[1] + i);
    for (int r = 0; r < kRows; ++r) {
      const auto v = load(wide, w + r * p.columns + i);
      sum[r][0] = hn::MulAdd(v, m0, sum[r][0]);
      sum[r][1] = hn::MulAdd(v, m1, sum[r][1]);
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int k = 0; k < 2; ++k) {
      auto total = hn::Set(single, hn::GetLane(hn::SumOfLanes(wide, sum[r][k])));
      for (int64_t j = i; j < p.columns; ++j)
        total = hn::MulAdd(load(single, w + r * p.columns + j), load(single, p.m[k] + j), total);
      p.y[k][row + r] = hn::GetLane(total) + (p.bias != nullptr ? p.bias[row + r] : 0.0f);
    }
}

void multiply(const Product& p, int64_t first, int64_t last) {
  for (; first + 4 <= last; first += 4) multiply_rows<4>(p, first);
  for (; first < last; ++first) multiply_rows<1>(p, first);
}

template <int kRows>
void add_transposed_rows(const TransposedProduct& p, int64_t row, int64_t first, int64_t last) {
  const float* w = p.w + row * p.columns;
  for_vectors(first, last, [&](auto d, int64_t c) HWY_ATTR {
    auto dm0 = load(d, p.dm[0] + c), dm1 = load(d, p.dm[1] + c);
    for (int r = 0; r < kRows; ++r) {
      const auto v = load(d, w + r * p.columns + c);
      dm0 = hn::MulAdd(v, hn::Set(d, p.g[0][row + r]), dm0);
      dm1 = hn::MulAdd(v, hn::Set(d, p.g[1][row + r]), dm1);
    }
    store(d, dm0, p.dm[0] + c);
    store(d, dm1, p.dm[1] + c);
  });
}

void multiply_transposed(const TransposedProduct& p, int64_t first, int64_t last) {
  constexpr int64_t kSlice = 2048;  // columns whose sums stay in the first cache
  for (; first < last; first += kSlice) {
    const int64_t end = std::min(last, first + kSlice);
    if (!p.accumulate)
      for (float* dm : p.dm) std::fill(dm + first, dm + end, 0.0f);
    int64_t row = 0;
    for (; row + 4 <= p.rows; row += 4) add_transposed_rows<4>(p, row, first, end);
    for (; row < p.rows; ++row) add_transposed_rows<1>(p, row, first, end);
  }
}

void add_rank_two(const RankTwo& p, int64_t first, int64_t last) {
  for (int64_t row = first; row < last; ++row) {
    const float g0 = p.g[0][row], g1 = p.g[1][row];
    if (p.dbias != nullptr) p.dbias[row] += g0 + g1;
    if (p.dw == nullptr) continue;
    float* dw = p.dw + row * p.columns;
    for_vectors(0, p.columns, [&](auto d, int64_t c) HWY_ATTR {
      const auto beta = hn::MulAdd(hn::Set(d, g1), load(d, p.m[1] + c), load(d, dw + c));
      store(d, hn::MulAdd(hn::Set(d, g0), load(d, p.m[0] + c), beta), dw + c);
    });
  }
}

}  // namespace
}  // namespace passnorm::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace passnorm::kernels {
namespace {

HWY_EXPORT(multiply);
HWY_EXPORT(multiply_transposed);
HWY_EXPORT(add_rank_two);

void run(CpuStream& stream, const std::vector<Product>& jobs) {
  share(stream, jobs, &Product::rows, &Product::columns, HWY_DYNAMIC_DISPATCH(multiply));
}
void run(CpuStream& stream, const std::vector<TransposedProduct>& jobs) {
  share(stream, jobs, &TransposedProduct::columns, &TransposedProduct::rows,
        HWY_DYNAMIC_DISPATCH(multiply_transposed));
}
void run(CpuStream& stream, const std::vector<RankTwo>& jobs) {
  share(stream, jobs, &RankTwo::rows, &RankTwo::columns, HWY_DYNAMIC_DISPATCH(add_rank_two));
}

}  // namespace

void passport_digest(CpuStream& stream, const PassportDigest& a) {
  const ConvGeometry& g = a.geometry;
  check_digest(g, a.key.size(), a.digest.size());
  const double inverse = 1.0 / static_cast<double>(g.oh() * g.ow());
  parallel_for(stream, g.kh * g.kw, 1, [&](int64_t first, int64_t last) {
    const Scratch<double> sum(stream, g.c);
    for (int64_t tap = first; tap < last; ++tap) {
      std::fill_n(sum.data(), g.c, 0.0);
      for (int64_t oh = 0; oh < g.oh(); ++oh) {
        const int64_t h = oh * g.stride + tap / g.kw - g.pad;
        if (h < 0 || h >= g.h) continue;
        for (int64_t ow = 0; ow < g.ow(); ++ow) {
          const int64_t w = ow * g.stride + tap % g.kw - g.pad;
          if (w < 0 || w >= g.w) continue;
          const float* key = a.key.data() + (h * g.w + w) * g.c;
          for (int64_t c = 0; c < g.c; ++c) sum.data()[c] += static_cast<double>(key[c]);
        }
      }
      float* digest = a.digest.data() + tap * g.c;
      for (int64_t c = 0; c < g.c; ++c) digest[c] = static_cast<float>(sum.data()[c] * inverse);
    }
  });
}

void passport_digest_backward(CpuStream& stream, const PassportDigestBackward& a) {
  const ConvGeometry& g = a.geometry;
  check_digest(g, a.dkey.size(), a.ddigest.size());
  const float inverse = 1.0f / static_cast<float>(g.oh() * g.ow());
  // Whether tap k of some output position o < outputs falls on this position of the key.
  const auto reaches = [&](int64_t position, int64_t k, int64_t outputs) {
    const int64_t from = position + g.pad - k;
    return from >= 0 && from % g.stride == 0 && from / g.stride < outputs;
  };
  parallel_for(stream, g.h * g.w, std::max<int64_t>(1, 4096 / g.window()),
               [&](int64_t first, int64_t last) {
                 for (int64_t i = first; i < last; ++i) {
                   float* dkey = a.dkey.data() + i * g.c;
                   std::fill_n(dkey, g.c, 0.0f);
                   for (int64_t kh = 0; kh < g.kh; ++kh) {
                     if (!reaches(i / g.w, kh, g.oh())) continue;
                     for (int64_t kw = 0; kw < g.kw; ++kw) {
                       if (!reaches(i % g.w, kw, g.ow())) continue;
                       const float* ddigest = a.ddigest.data() + (kh * g.kw + kw) * g.c;
                       for (int64_t c = 0; c < g.c; ++c) dkey[c] += ddigest[c];
                     }
                   }
                   for (int64_t c = 0; c < g.c; ++c) dkey[c] *= inverse;
                 }
               });
}

void passport_read(CpuStream& stream, const PassportRead& a) {
  check(a);
  std::vector<Product> jobs;
  for (const PassportSite& s : a.sites) {
    float* raw = a.raw.data() + s.offset;
    jobs.push_back({.rows = s.channels,
                    .columns = s.window,
                    .w = s.w,
                    .bias = s.bias,
                    .m = {s.m, s.m + s.window},
                    .y = {raw, raw + s.channels}});
  }
  run(stream, jobs);
}

void passport_read_backward(CpuStream& stream, const PassportReadBackward& a) {
  check(a);
  std::vector<RankTwo> weights;
  std::vector<TransposedProduct> digests;
  for (size_t i = 0; i < a.sites.size(); ++i) {
    const PassportSite& s = a.sites[i];
    const float* draw = a.draw.data() + s.offset;
    float* const dw = pointer_at(a.dw, i);
    float* const dbias = pointer_at(a.dbias, i);
    if (dw != nullptr || dbias != nullptr)
      weights.push_back({.rows = s.channels,
                         .columns = s.window,
                         .g = {draw, draw + s.channels},
                         .m = {s.m, s.m + s.window},
                         .dw = dw,
                         .dbias = dbias});
    if (float* const dm = pointer_at(a.dm, i); dm != nullptr)
      digests.push_back({.rows = s.channels,
                         .columns = s.window,
                         .w = s.w,
                         .g = {draw, draw + s.channels},
                         .dm = {dm, dm + s.window}});
  }
  run(stream, weights);
  run(stream, digests);
}

void gate(CpuStream& stream, const Gate& a) {
  check(a);
  const Scratch<float> active(stream, static_cast<int64_t>(a.hidden.size()));
  std::vector<Product> down, up;
  for (const GateSite& s : a.sites) {
    const float* raw = a.raw.data() + s.offset;
    float* hidden = a.hidden.data() + s.hidden_offset;
    const float* act = active.data() + s.hidden_offset;
    float* used = a.used.data() + s.offset;
    down.push_back({.rows = s.hidden,
                    .columns = s.channels,
                    .w = s.a1,
                    .m = {raw, raw + s.channels},
                    .y = {hidden, hidden + s.hidden}});
    up.push_back({.rows = s.channels,
                  .columns = s.hidden,
                  .w = s.a2,
                  .m = {act, act + s.hidden},
                  .y = {used, used + s.channels}});
  }
  run(stream, down);
  for (size_t i = 0; i < a.hidden.size(); ++i)
    active.data()[i] = a.hidden[i] > 0 ? a.hidden[i] : kGateSlope * a.hidden[i];
  run(stream, up);
}

void gate_backward(CpuStream& stream, const GateBackward& a) {
  check(a);
  const auto hidden_size = static_cast<int64_t>(a.hidden.size());
  const Scratch<float> active(stream, hidden_size), dhidden(stream, hidden_size);
  std::vector<TransposedProduct> to_hidden, to_raw;
  std::vector<RankTwo> weights;
  for (size_t i = 0; i < a.sites.size(); ++i) {
    const GateSite& s = a.sites[i];
    const float* raw = a.raw.data() + s.offset;
    const float* dused = a.dused.data() + s.offset;
    const float* act = active.data() + s.hidden_offset;
    float* dh = dhidden.data() + s.hidden_offset;
    to_hidden.push_back({.rows = s.channels,
                         .columns = s.hidden,
                         .w = s.a2,
                         .g = {dused, dused + s.channels},
                         .dm = {dh, dh + s.hidden}});
    if (!a.draw.empty()) {
      float* draw = a.draw.data() + s.offset;
      to_raw.push_back({.rows = s.hidden,
                        .columns = s.channels,
                        .w = s.a1,
                        .g = {dh, dh + s.hidden},
                        .dm = {draw, draw + s.channels},
                        .accumulate = true});
    }
    if (float* const da2 = pointer_at(a.da2, i); da2 != nullptr)
      weights.push_back({.rows = s.channels,
                         .columns = s.hidden,
                         .g = {dused, dused + s.channels},
                         .m = {act, act + s.hidden},
                         .dw = da2});
    if (float* const da1 = pointer_at(a.da1, i); da1 != nullptr)
      weights.push_back({.rows = s.hidden,
                         .columns = s.channels,
                         .g = {dh, dh + s.hidden},
                         .m = {raw, raw + s.channels},
                         .dw = da1});
  }
  run(stream, to_hidden);
  for (size_t i = 0; i < a.hidden.size(); ++i) {
    const float slope = a.hidden[i] > 0 ? 1.0f : kGateSlope;
    active.data()[i] = slope * a.hidden[i];
    dhidden.data()[i] *= slope;
  }
  run(stream, weights);
  run(stream, to_raw);
}

void sign_loss(CpuStream&, const SignLoss& a) {
  check(a);
  const float weight = a.weight * a.loss_scale.get();
  for (size_t i = 0; i < a.sites.size(); ++i) {
    const SignSite& s = a.sites[i];
    const float* raw = a.raw.data() + s.offset;
    float* draw = a.draw.empty() ? nullptr : a.draw.data() + s.offset;
    double hinge = 0, squares = 0;
    int32_t matched = 0;
    for (int64_t c = 0; c < s.channels; ++c) {
      const float bit = s.bits[c];
      const float short_of = a.margin - bit * raw[c];
      if (short_of > 0) hinge += static_cast<double>(short_of);
      squares += static_cast<double>(raw[c]) * static_cast<double>(raw[c]);
      matched += bit * raw[c] > 0;
      if (draw != nullptr)
        draw[c] += weight * ((short_of > 0 ? -a.alpha * bit : 0.0f) + 2 * a.decay * raw[c]);
    }
    a.loss[i] = static_cast<float>(static_cast<double>(a.alpha) * hinge +
                                   static_cast<double>(a.decay) * squares);
    a.matched[i] = matched;
  }
}

}  // namespace passnorm::kernels
#endif  // HWY_ONCE
