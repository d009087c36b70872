#include "train/data/synthetic.hpp"

#include <algorithm>
#include <cstdlib>

#include "kernels/runtime/check.hpp"
#include "kernels/runtime/random.hpp"

namespace passnorm::train {
namespace {

constexpr int kSide = 32;
constexpr int kUnit = 16;  ///< lengths below are in sixteenths of a pixel
constexpr int kPixels = kSide * kSide;
constexpr int kNoise = 20;     ///< largest change of a value by noise
constexpr int kContrast = 96;  ///< smallest difference of the two colours in some channel
constexpr uint64_t kWords =
    4096;  ///< random words reserved for one image: a draw per parameter, a byte per value of noise

/// The random parameters of an image; every class draws the same.
struct Figure {
  int x, y;    ///< centre
  int r;       ///< radius of shapes
  int period;  ///< of textures
  int phase_x, phase_y;
  bool mirror;  ///< direction of diagonals, tip of the triangle
};

int modulo(int a, int b) { return ((a % b) + b) % b; }

bool disc(const Figure& f, int dx, int dy) { return dx * dx + dy * dy <= f.r * f.r; }
bool ring(const Figure& f, int dx, int dy) {
  const int d = dx * dx + dy * dy;
  return d <= f.r * f.r && 3 * d >= f.r * f.r;
}
bool square(const Figure& f, int dx, int dy) {
  return 8 * std::max(std::abs(dx), std::abs(dy)) <= 7 * f.r;
}
bool triangle(const Figure& f, int dx, int dy) {
  const int below_tip = f.r + (f.mirror ? -dy : dy);
  return below_tip <= 2 * f.r && 2 * std::abs(dx) <= below_tip;
}
bool cross(const Figure& f, int dx, int dy) {
  const int a = std::abs(dx), b = std::abs(dy);
  return std::max(a, b) <= f.r && 7 * std::min(a, b) <= 2 * f.r;
}
bool stripes(const Figure& f, int along) {
  return 2 * modulo(along + f.phase_x, f.period) < f.period;
}
bool horizontal(const Figure& f, int, int dy) { return stripes(f, dy); }
bool vertical(const Figure& f, int dx, int) { return stripes(f, dx); }
bool diagonal(const Figure& f, int dx, int dy) {
  return stripes(f, (f.mirror ? dx + dy : dx - dy) * 5 / 7);
}
bool checkerboard(const Figure& f, int dx, int dy) {
  return stripes(f, dx) != (2 * modulo(dy + f.phase_y, f.period) < f.period);
}
bool dots(const Figure& f, int dx, int dy) {
  const int a = 2 * modulo(dx + f.phase_x, f.period) - f.period,
            b = 2 * modulo(dy + f.phase_y, f.period) - f.period;
  return 9 * (a * a + b * b) <= 4 * f.period * f.period;
}

struct Class {
  const char* name;
  bool (*covers)(const Figure& figure, int dx, int dy);
};
constexpr Class kClasses[] = {
    {"disc", disc},         {"ring", ring},         {"square", square},
    {"triangle", triangle}, {"cross", cross},       {"horizontal", horizontal},
    {"vertical", vertical}, {"diagonal", diagonal}, {"checkerboard", checkerboard},
    {"dots", dots}};

/// The random words of one image.
class Draws {
 public:
  Draws(const Random& random, int64_t image)
      : random_(random), base_(static_cast<uint64_t>(image) * kWords) {}
  /// Draw number `k`, uniform in [low, high].
  int between(uint64_t k, int low, int high) const {
    return low + static_cast<int>(random_.below(base_ + k, static_cast<uint32_t>(high - low + 1)));
  }
  /// Word k of the noise, behind the first 1024 words.
  PhiloxWords noise(uint64_t block) const { return random_.words(base_ / 4 + 256 + block); }

 private:
  const Random& random_;
  uint64_t base_;
};

struct Colours {
  int front[3], back[3];
};

/// Two colours, uniform but for being too close. Front and back are exchangeable: on average every
/// class has the same mean.
Colours draw_colours(const Draws& draws) {
  Colours colours{};
  for (uint64_t attempt = 0; attempt < 64; ++attempt) {
    int contrast = 0;
    for (uint64_t c = 0; c < 3; ++c) {
      colours.front[c] = draws.between(16 + 6 * attempt + c, 0, 255);
      colours.back[c] = draws.between(16 + 6 * attempt + 3 + c, 0, 255);
      contrast = std::max(contrast, std::abs(colours.front[c] - colours.back[c]));
    }
    if (contrast >= kContrast) break;
  }
  return colours;
}

void draw_image(const Draws& draws, const Class& shown, uint8_t* image) {
  const Figure figure{.x = draws.between(0, 11 * kUnit, 21 * kUnit),
                      .y = draws.between(1, 11 * kUnit, 21 * kUnit),
                      .r = draws.between(2, 6 * kUnit, 10 * kUnit),
                      .period = draws.between(3, 5 * kUnit, 9 * kUnit),
                      .phase_x = draws.between(4, 0, 9 * kUnit),
                      .phase_y = draws.between(5, 0, 9 * kUnit),
                      .mirror = draws.between(6, 0, 1) == 1};
  const Colours colours = draw_colours(draws);
  int coverage[kPixels];  // of each pixel, in quarters
  for (int i = 0; i < kPixels; ++i) {
    coverage[i] = 0;
    for (int sample = 0; sample < 4; ++sample) {
      const int x = i % kSide * kUnit + (sample % 2 ? 12 : 4),
                y = i / kSide * kUnit + (sample / 2 ? 12 : 4);
      coverage[i] += shown.covers(figure, x - figure.x, y - figure.y);
    }
  }
  for (int i = 0; i < 3 * kPixels; i += 16) {
    const PhiloxWords words = draws.noise(static_cast<uint64_t>(i / 16));
    for (int k = 0; k < 16; ++k) {
      const int c = (i + k) / kPixels, covered = coverage[(i + k) % kPixels];
      const int colour = (covered * colours.front[c] + (4 - covered) * colours.back[c]) / 4;
      const int byte = static_cast<int>(words.w[k / 4] >> (8 * (k % 4)) & 255);
      image[i + k] = static_cast<uint8_t>(std::clamp(colour + (byte - 128) * kNoise / 128, 0, 255));
    }
  }
}

}  // namespace

Dataset synthetic(const SyntheticOptions& options, Split split, int64_t limit) {
  const int64_t all = split == Split::kTrain ? options.train : options.test;
  PASSNORM_CHECK(all > 0 && all <= kMaxSyntheticImages && limit >= 0, all, " images, limit ",
                 limit);
  Dataset set;
  set.n = limit > 0 ? std::min(limit, all) : all;
  set.classes = std::ssize(kClasses);
  for (const Class& c : kClasses) set.class_names.emplace_back(c.name);
  set.mean = {0.5f, 0.5f, 0.5f};
  set.stddev = {0.29f, 0.29f, 0.29f, 1};  // of a uniform value
  set.images.resize(static_cast<size_t>(set.n) * 3 * kPixels);
  const Random random(options.seed, Purpose::kSynthetic, static_cast<uint32_t>(split));
  for (int64_t i = 0; i < set.n; ++i) {
    const int64_t label = i % set.classes;
    set.labels.push_back(static_cast<int32_t>(label));
    draw_image(Draws(random, i), kClasses[label], set.images.data() + i * 3 * kPixels);
  }
  return set;
}

}  // namespace passnorm::train
