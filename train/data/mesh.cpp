#include "train/data/mesh.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm::train {
namespace {

using Vector = std::array<double, 3>;
constexpr double kFarthest = 1e9;  // squares and sums of areas stay finite

/// The words of a text, line by line.
class Lines {
 public:
  Lines(std::string_view name, std::string_view text) : name_(name), rest_(text) {}

  template <class... T>
  [[noreturn]] void refuse(const T&... parts) const {
    fail(Fault::kInput, name_, ":", number_, ": ", parts...);
  }
  /// Goes to the next line that has a word.
  void next(const char* expected) {
    do {
      if (rest_.empty()) refuse("the file ends where ", expected, " was expected");
      ++number_;
      const size_t end = std::min(rest_.find('\n'), rest_.size());
      line_ = rest_.substr(0, end);
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
      line_ = line_.substr(0, line_.find('#'));
    } while (at_end());
  }
  bool at_end() {
    line_.remove_prefix(std::min(line_.find_first_not_of(" \t\r"), line_.size()));
    return line_.empty();
  }
  bool take(std::string_view word) {
    if (!line_.starts_with(word)) return false;
    line_.remove_prefix(word.size());
    return true;
  }
  template <class T>
  T number(const char* expected) {
    T value{};
    const std::string_view word = at_end() ? line_ : line_.substr(0, line_.find_first_of(" \t\r"));
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (word.empty() || error != std::errc() || end != word.data() + word.size())
      refuse("found ", word.empty() ? "the end of the line" : quote(word), ", expected ", expected);
    line_.remove_prefix(word.size());
    return value;
  }
  void expect_end(const char* what) {
    if (!at_end()) refuse("found ", quote(line_), " behind ", what);
  }
  size_t bytes_left() const { return rest_.size(); }

 private:
  std::string_view name_, rest_, line_;
  int64_t number_ = 0;
};

Vector minus(const Vector& a, const Vector& b) { return {a[0] - b[0], a[1] - b[1], a[2] - b[2]}; }

double area(const Mesh& mesh, const std::array<uint32_t, 3>& t) {
  const Vector a = minus(mesh.vertices[t[1]], mesh.vertices[t[0]]),
               b = minus(mesh.vertices[t[2]], mesh.vertices[t[0]]);
  return std::hypot(a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2],
                    a[0] * b[1] - a[1] * b[0]) /
         2;
}

}  // namespace

Mesh parse_off(std::string_view name, std::string_view text) {
  Lines lines(name, text);
  lines.next("OFF");
  if (!lines.take("OFF")) lines.refuse("not an OFF file: it does not begin with OFF");
  if (lines.at_end()) lines.next("the numbers of vertices, faces and edges");
  const auto vertices = lines.number<uint32_t>("the number of vertices");
  const auto faces = lines.number<uint32_t>("the number of faces");
  lines.number<uint32_t>("the number of edges");
  lines.expect_end("the numbers of vertices, faces and edges");
  if (vertices == 0 || faces == 0)
    lines.refuse("a mesh of ", vertices, " vertices and ", faces, " faces is empty");
  // The shortest lines are "0 0 0" and "1 0", each with its end: nothing is reserved for less.
  const uint64_t least = uint64_t{6} * vertices + uint64_t{4} * faces - 1;
  if (least > lines.bytes_left())
    lines.refuse(vertices, " vertices and ", faces, " faces cannot stand in the ",
                 lines.bytes_left(), " bytes that follow");
  Mesh mesh;
  mesh.vertices.resize(vertices);
  for (Vector& v : mesh.vertices) {
    lines.next("a vertex");
    for (double& x : v) {
      x = lines.number<double>("a coordinate");
      if (!(std::abs(x) <= kFarthest))
        lines.refuse("the coordinate ", x, " is not a number from -1e9 to 1e9");
    }
    lines.expect_end("the coordinates of a vertex");
  }
  mesh.triangles.reserve(faces);
  for (uint32_t f = 0; f < faces; ++f) {
    lines.next("a face");
    const auto corners = lines.number<uint32_t>("the number of corners of a face");
    std::array<uint32_t, 3> t{};
    for (uint32_t k = 0; k < corners; ++k) {  // ends with the line at the latest
      const auto v = lines.number<uint32_t>("the index of a vertex");
      if (v >= vertices) lines.refuse("a face has vertex ", v, ", the last is ", vertices - 1);
      t[std::min(k, 2u)] = v;
      if (k < 2) continue;
      mesh.triangles.push_back(t);
      t[1] = v;
    }
  }
  return mesh;
}

std::vector<float> sample_surface(std::string_view name, const Mesh& mesh, int64_t points,
                                  const Random& random) {
  std::vector<double> up_to;  // area of the triangles up to this one
  up_to.reserve(mesh.triangles.size());
  double total = 0;
  for (const auto& t : mesh.triangles) up_to.push_back(total += area(mesh, t));
  if (!(total > 0))
    fail(Fault::kInput, name, ": its ", mesh.triangles.size(),
         " triangles have no area to sample points on");
  std::vector<float> cloud(static_cast<size_t>(3 * points));
  for (int64_t i = 0; i < points; ++i) {
    const PhiloxWords r = random.words(static_cast<uint64_t>(i));
    const double where = (r.w[0] * 0x1p32 + r.w[1]) * 0x1p-64 * total;
    // One without area has the same sum as the triangle before it and is never the first above.
    auto found = std::ranges::upper_bound(up_to, where);
    if (found == up_to.end()) found = std::ranges::lower_bound(up_to, total);
    const auto& t = mesh.triangles[static_cast<size_t>(found - up_to.begin())];
    const double u = std::sqrt(r.w[2] * 0x1p-32), v = r.w[3] * 0x1p-32;
    const double weight[] = {1 - u, u * (1 - v), u * v};
    for (size_t c = 0; c < 3; ++c) {
      double x = 0;
      for (size_t k = 0; k < 3; ++k) x += weight[k] * mesh.vertices[t[k]][c];
      cloud[static_cast<size_t>(3 * i) + c] = static_cast<float>(x);
    }
  }
  to_unit_sphere(cloud);
  return cloud;
}

void to_unit_sphere(std::span<float> cloud) {
  const size_t points = cloud.size() / 3;
  std::array<double, 3> mean{};
  for (size_t i = 0; i < cloud.size(); ++i) mean[i % 3] += static_cast<double>(cloud[i]);
  for (double& m : mean) m /= static_cast<double>(points);
  const auto at = [&](size_t i, size_t c) {
    return static_cast<double>(cloud[3 * i + c]) - mean[c];
  };
  double farthest = 0;
  for (size_t i = 0; i < points; ++i)
    farthest = std::max(farthest, std::hypot(at(i, 0), at(i, 1), at(i, 2)));
  const double scale = farthest > 0 ? 1 / farthest : 0;
  for (size_t i = 0; i < points; ++i)
    for (size_t c = 0; c < 3; ++c) cloud[3 * i + c] = static_cast<float>(at(i, c) * scale);
}

}  // namespace passnorm::train
