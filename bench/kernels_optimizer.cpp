// Over all parameters of a ResNet-18, and its loss.
#include <benchmark/benchmark.h>

#include <array>
#include <bit>

#include "bench/catalogue.hpp"
#include "kernels/loss.hpp"
#include "kernels/optimizer.hpp"
#include "kernels/reduce.hpp"

namespace passnorm::bench {
namespace {

constexpr int64_t kParameters = 11'173'962;
constexpr double kArena = 4.0 * kParameters;

/// dtype: of the copy of the weights that the update writes too; f32: none.
void add_updates(Catalogue& all, DType dtype) {
  const bool copied = dtype != DType::kF32;
  const double copy = copied ? width(dtype) * kParameters : 0;
  const auto make_copy = [=](Stream& s) {
    return copied ? result(s, kParameters, dtype) : Tensor();
  };
  const auto view = [](const Tensor& t) { return t ? t.view() : View(); };
  all.add("optimizer/sgd", "resnet18", dtype, 0, 5 * kArena + copy, [=](Stream& s) -> Call {
    return [=, &s, w = operand(s, kParameters), g = operand(s, kParameters),
            m = result(s, kParameters), c = make_copy(s)] {
      dispatch(s, [&](auto& d) {
        kernels::sgd_step(d, {.w = w.span(),
                              .g = g.span(),
                              .momentum_buffer = m.span(),
                              .w_copy = view(c),
                              .lr = 1e-6f,
                              .weight_decay = 5e-4f});
      });
    };
  });
  all.add("optimizer/adam", "resnet18", dtype, 0, 7 * kArena + copy, [=](Stream& s) -> Call {
    return [=, &s, w = operand(s, kParameters), g = operand(s, kParameters),
            m = result(s, kParameters), v = result(s, kParameters), c = make_copy(s)] {
      dispatch(s, [&](auto& d) {
        kernels::adam_step(d, {.w = w.span(),
                               .g = g.span(),
                               .m = m.span(),
                               .v = v.span(),
                               .w_copy = view(c),
                               .lr = 1e-6f});
      });
    };
  });
}

void add_reductions(Catalogue& all) {
  all.add("reduce/sum_squares", "resnet18", DType::kF32, 0, kArena,
          [](Stream& s) -> Call {
            return [&s, x = operand(s, kParameters)] {
              dispatch(
                  s, [&](auto& d) { benchmark::DoNotOptimize(kernels::sum_squares(d, x.span())); });
            };
          })
      .recordable = false;
  all.add("reduce/count_nonfinite", "resnet18", DType::kF32, 0, kArena,
          [](Stream& s) -> Call {
            return [&s, x = operand(s, kParameters)] {
              dispatch(s, [&](auto& d) {
                benchmark::DoNotOptimize(kernels::count_nonfinite(d, x.span()));
              });
            };
          })
      .recordable = false;
  all.add("optimizer/check", "resnet18", DType::kF32, 0, kArena, [](Stream& s) -> Call {
    constexpr size_t kBytes = sizeof(kernels::UpdateState);
    const auto start = std::bit_cast<std::array<uint8_t, kBytes>>(kernels::UpdateState{});
    return [&s, g = operand(s, kParameters),
            state = Tensor::from<uint8_t>(s, {int64_t{kBytes}}, start)] {
      dispatch(s, [&](auto& d) {
        kernels::update_check(
            d, {.g = g.span(),
                .clip_norm = 1,
                .state = reinterpret_cast<kernels::UpdateState*>(state.span<uint8_t>().data())});
      });
    };
  });
}

void add_loss(Catalogue& all) {
  const int64_t n = all.samples(), classes = 100;
  all.add("loss/cross_entropy", "100", DType::kF32, 0, 8 * f64(2 * n * classes),
          [=](Stream& s) -> Call {
            return [=, &s, logits = operand(s, 2 * n * classes), labels = result(s, n, DType::kI32),
                    loss = result(s, 2), hits = result(s, 2, DType::kI32),
                    dlogits = result(s, 2 * n * classes)] {
              dispatch(s, [&](auto& d) {
                kernels::cross_entropy(d, {.lanes = 2,
                                           .rows = n,
                                           .classes = classes,
                                           .logits = logits.span(),
                                           .labels = labels.span<int32_t>(),
                                           .loss = loss.span(),
                                           .hits = hits.span<int32_t>(),
                                           .dlogits = dlogits.span()});
              });
            };
          });
}

}  // namespace

void add_optimizers(Catalogue& all) {
  for (const DType dtype : all.storage()) add_updates(all, dtype);
  add_reductions(all);
  add_loss(all);
}

}  // namespace passnorm::bench
