#include "train/data/synthetic3d.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/runtime/check.hpp"
#include "kernels/runtime/random.hpp"
#include "train/data/mesh.hpp"
#include "train/data/npy.hpp"
#include "train/data/synthetic.hpp"

namespace passnorm::train {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;
constexpr double kNoise = 0.02;

struct Point {
  double x, y, z;
};

/// The random numbers of one cloud, one after another.
class Draws {
 public:
  Draws(const Random& random, int64_t cloud)
      : random_(random), next_(static_cast<uint64_t>(cloud) << 32) {}
  /// Uniform in [low, high).
  double between(double low, double high) {
    return low + (high - low) * static_cast<double>(random_.uniform(next_++));
  }
  double uniform() { return between(0, 1); }
  double normal() {
    const double u = uniform(), v = uniform();
    return std::sqrt(-2 * std::log(1 - u)) * std::cos(kTurn * v);
  }

 private:
  const Random& random_;
  uint64_t next_;
};

/// The proportions of a solid, each uniform in [0, 1).
struct Proportions {
  double a, b;
};

Point on_circle(double radius, double angle, double z) {
  return {radius * std::cos(angle), radius * std::sin(angle), z};
}

/// Uniform on the unit sphere (Archimedes: its zones have the area of the cylinder's).
Point on_sphere(Draws& d) {
  const double z = d.between(-1, 1);
  return on_circle(std::sqrt(1 - z * z), kTurn * d.uniform(), z);
}

Point sphere(Draws& d, const Proportions&) { return on_sphere(d); }

Point cube(Draws& d, const Proportions& p) {
  const double h = 0.8 + 0.4 * p.a;  // half of the height; the base is 2 x 2
  const double side = 4 * 4 * h, all = side + 2 * 4;
  const double u = d.between(-1, 1), v = d.between(-1, 1), where = all * d.uniform();
  if (where >= side) return {u, v, where - side < 4 ? h : -h};
  const int face = std::min(3, static_cast<int>(where / (4 * h)));
  const double to = face % 2 ? 1 : -1;
  return face < 2 ? Point{u, to, v * h} : Point{to, u, v * h};
}

Point cylinder(Draws& d, const Proportions& p) {
  const double h = 1.2 + p.a;  // half of the height, of radius 1
  const double angle = kTurn * d.uniform(), where = (2 * h + 1) * d.uniform();
  if (where < 2 * h) return on_circle(1, angle, where - h);
  return on_circle(std::sqrt(d.uniform()), angle, where - 2 * h < 0.5 ? h : -h);
}

Point cone(Draws& d, const Proportions& p) {
  const double h = 1.5 + p.a, slant = std::hypot(1, h);  // over a disc of radius 1
  const double r = std::sqrt(d.uniform()), angle = kTurn * d.uniform();
  const bool base = (slant + 1) * d.uniform() < 1;
  return on_circle(r, angle, base ? 0 : h * (1 - r));
}

Point torus(Draws& d, const Proportions& p) {
  const double tube = 0.25 + 0.2 * p.a;  // around a circle of radius 1
  for (;;) {                             // the outer side is longer: it is kept more often
    const double v = kTurn * d.uniform(), r = 1 + tube * std::cos(v);
    if ((1 + tube) * d.uniform() < r) return on_circle(r, kTurn * d.uniform(), tube * std::sin(v));
  }
}

Point pyramid(Draws& d, const Proportions& p) {
  const double h = 1.2 + p.a;  // over a square of 2 x 2
  const double side = std::hypot(1, h), where = 4 * (side + 1) * d.uniform();
  if (where < 4) return {d.between(-1, 1), d.between(-1, 1), 0};
  const double up = 1 - std::sqrt(d.uniform());  // the side narrows
  const double u = (1 - up) * d.between(-1, 1), v = 1 - up;
  switch (static_cast<int>((where - 4) / side)) {
    case 0:
      return {u, v, up * h};
    case 1:
      return {u, -v, up * h};
    case 2:
      return {v, u, up * h};
    default:
      return {-v, u, up * h};
  }
}

Point capsule(Draws& d, const Proportions& p) {
  const double h = 1 + p.a;  // half of the straight part, of radius 1
  if ((h + 1) * d.uniform() < h) return on_circle(1, kTurn * d.uniform(), d.between(-h, h));
  Point at = on_sphere(d);
  at.z += at.z > 0 ? h : -h;
  return at;
}

Point helix(Draws& d, const Proportions& p) {
  const double tube = 0.12 + 0.08 * p.a, turns = 2 + p.b, h = 2.5;  // around a curve of radius 1
  const double t = d.uniform(), angle = kTurn * turns * t;
  const double v = kTurn * d.uniform();
  return on_circle(1 + tube * std::cos(v), angle, h * (t - 0.5) + tube * std::sin(v));
}

struct Class {
  const char* name;
  Point (*point)(Draws& draws, const Proportions& proportions);
};
constexpr Class kClasses[] = {{"sphere", sphere},   {"cube", cube},   {"cylinder", cylinder},
                              {"cone", cone},       {"torus", torus}, {"pyramid", pyramid},
                              {"capsule", capsule}, {"helix", helix}};

void draw_cloud(Draws draws, const Class& shown, std::span<float> cloud) {
  Proportions p{};
  p.a = draws.uniform();
  p.b = draws.uniform();
  const double angle = kTurn * draws.uniform(), cos = std::cos(angle), sin = std::sin(angle);
  for (size_t i = 0; i < cloud.size(); i += 3) {
    const Point at = shown.point(draws, p);
    cloud[i] = static_cast<float>(cos * at.x - sin * at.y);
    cloud[i + 1] = static_cast<float>(sin * at.x + cos * at.y);
    cloud[i + 2] = static_cast<float>(at.z);
  }
  to_unit_sphere(cloud);
  for (float& x : cloud) x += static_cast<float>(kNoise * draws.normal());
  to_unit_sphere(cloud);
}

}  // namespace

Dataset synthetic3d(const Synthetic3dOptions& options, Split split, int64_t limit) {
  const int64_t all = split == Split::kTrain ? options.train : options.test;
  PASSNORM_CHECK(all > 0 && all <= kMaxSyntheticImages && limit >= 0, all, " clouds, limit ",
                 limit);
  PASSNORM_CHECK(options.points > 0 && options.points <= kMaxPoints, options.points, " points");
  Dataset set;
  set.n = limit > 0 ? std::min(limit, all) : all;
  set.h = 1;
  set.w = options.points;
  set.classes = std::ssize(kClasses);
  for (const Class& c : kClasses) set.class_names.emplace_back(c.name);
  set.points.resize(static_cast<size_t>(3 * set.n * set.w));
  const Random random(options.seed, Purpose::kSynthetic, 2 + static_cast<uint32_t>(split));
  for (int64_t i = 0; i < set.n; ++i) {
    const int64_t label = i % set.classes;
    set.labels.push_back(static_cast<int32_t>(label));
    draw_cloud(Draws(random, i), kClasses[label],
               std::span(set.points)
                   .subspan(static_cast<size_t>(3 * set.w * i), static_cast<size_t>(3 * set.w)));
  }
  return set;
}

}  // namespace passnorm::train
