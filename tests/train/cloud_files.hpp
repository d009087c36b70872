// Point clouds as files, written by hand.
#pragma once

#include <string>
#include <vector>

namespace passnorm::train {

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// An .npy file with this header, of format version 1.
inline std::string npy(const std::string& header, const std::string& data) {
  std::string file = "\x93NUMPY\x01";
  file += '\0';
  file += static_cast<char>(header.size());
  file += static_cast<char>(header.size() >> 8);
  return file + header + data;
}
inline std::string npy_f32(const std::string& shape, const std::vector<float>& values) {
  return npy("{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }\n", raw(values));
}

inline constexpr const char* kTetrahedron =
    "OFF\n4 4 6\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n";

}  // namespace passnorm::train
