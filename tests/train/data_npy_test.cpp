#include "train/data/npy.hpp"

#include <cmath>
#include <limits>

#include "tests/support/files.hpp"
#include "tests/train/cloud_files.hpp"

namespace passnorm::train {
namespace {

using test::refusal;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> decode(const std::string& file, int64_t points = 0) {
  return decode_npy_cloud("f.npy", bytes_of(file), points);
}

TEST(Npy, TakesTheFirstPointsAndColumns) {
  const std::vector<float> xyz = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(decode(npy_f32("3, 3", xyz)), xyz);
  EXPECT_EQ(decode(npy_f32("3, 3", xyz), 2), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  // ModelNet40 as it is often packed: normals behind the coordinates.
  EXPECT_EQ(decode(npy_f32("2, 4", {0, 1, 2, 99, 3, 4, 5, 99})),
            (std::vector<float>{0, 1, 2, 3, 4, 5}));
  const std::string f64 =
      npy("{\"shape\":(1,3),\"fortran_order\":False,\"descr\":\"<f8\"}", raw<double>({0.1, -2, 3}));
  EXPECT_EQ(decode(f64), (std::vector<float>{0.1f, -2, 3}));
  const std::string v1 = npy_f32("1, 3", {7, 8, 9});
  std::string v2 = v1.substr(0, 6) + '\x02' + v1.substr(7, 3);
  v2 += std::string(2, '\0') + v1.substr(10);
  EXPECT_EQ(decode(v2), (std::vector<float>{7, 8, 9}));
}

TEST(Npy, WritesWhatNumpyWrites) {
  const std::vector<float> xyz = {0, 1, 2, 3, 4, 5};
  const std::vector<std::byte> file = encode_npy_cloud(xyz);
  EXPECT_EQ(file.size(), 128u + 24);  // the header is padded to 64 bytes
  EXPECT_EQ(text_of(file).substr(10, 60),
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } ");
  EXPECT_EQ(std::to_integer<char>(file[127]), '\n');
  EXPECT_EQ(decode_npy_cloud("f", file, 2), xyz);
}

TEST(Npy, RefusesOthers) {
  const std::string good = npy_f32("2, 3", {0, 1, 2, 3, 4, 5});
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string file = good;
    file.replace(file.find(from), from.size(), to);
    file[8] = static_cast<char>(file[8] + static_cast<char>(to.size() - from.size()));
    return file;
  };
  const struct {
    std::string file;
    const char* reason;
  } cases[] = {
      {"", "not an .npy file: 0 bytes"},
      {"PK\x03\x04 an .npz file", "not an .npy file"},
      {good.substr(0, 9), "not an .npy file: 9 bytes"},
      {good.substr(0, 20), "cut off in its header"},
      {good.substr(0, 6) + '\x04' + good.substr(7), ".npy version 4.0"},
      {good.substr(0, 8) + "\xff\xff" + good.substr(10), "a header of 65535 bytes"},
      {good.substr(0, good.size() - 1), "has 23 bytes behind its header, its shape needs 24"},
      {good + "x", "has 25 bytes behind its header"},
      {with("'<f4'", "'>f4'"), "numbers of type \">f4\", expected \"<f4\" or \"<f8\""},
      {with("'<f4'", "'<i4'"), "numbers of type \"<i4\""},
      {with("'<f4'", "'|O'"), "numbers of type \"|O\""},
      {with("False", "True"), "is in Fortran order"},
      {with("False", "None"), "its header is not numpy's"},
      {with("2, 3", "3, 2"), "shape (3, 2), expected (P, C) with 1 to 1048576 points"},
      {with("2, 3", "6"), "shape (6), expected (P, C)"},
      {with("2, 3", ""), "shape (), expected (P, C)"},
      {with("2, 3", "0, 3"), "shape (0, 3)"},
      {with("2, 3", "1, 2, 3"), "shape (1, 2, 3)"},
      {with("2, 3", "-2, 3"), "its header is not numpy's"},
      {with("2, 3", "9223372036854775807, 3"), "expected (P, C)"},
      {with("2, 3", "99999999999999999999, 3"), "its header is not numpy's"},
      {with("2, 3", "3, 9223372036854775807"), "expected (P, C)"},
      {with("'shape'", "'shapes'"), "its header is not numpy's"},
      {with("'shape'", "'descr'"), "its header is not numpy's"},
      {with("), }", "), "), "its header is not numpy's"},
      {with("), }\n", "), }x"), "its header is not numpy's"},
      {npy("{'descr': '<f4', 'shape': (2, 3)}", raw<float>({0, 1, 2, 3, 4, 5})),
       "its header is not numpy's"},
      {npy_f32("2, 3", {0, 1, 2, 3, kNan, 5}), "point 1: y is nan, expected a finite number"},
      {npy_f32("1, 3", {0, 1, -INFINITY}), "point 0: z is -inf"},
      {npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 3)}", raw<double>({1e300, 0, 0})),
       "point 0: x is 1e+300"},
  };
  for (const auto& c : cases) {
    const std::string message = refusal(Fault::kInput, [&] { decode(c.file); });
    EXPECT_TRUE(message.starts_with("f.npy: ")) << message;
    EXPECT_CONTAINS(message, c.reason);
  }
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { decode(good, 3); }), "with 3 to 1048576 points");
}

}  // namespace
}  // namespace passnorm::train
