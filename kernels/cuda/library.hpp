// NVIDIA's libraries are opened when they are first used: the program starts without them.
#pragma once

#include <string>
#include <vector>

namespace passnorm {

/// A shared library, open until the process ends (what it registered with the driver may be called
/// until then).
class Library {
 public:
  struct Source {
    const char* name;                ///< in messages: "cuDNN 9"
    std::vector<const char*> files;  ///< the first that can be opened is taken
    const char* variable;            ///< environment: the file or its folder, and no other
    const char* package;             ///< of pip
    size_t least = 0;                ///< version, as its own function gives it
  };
  static const Source kCudnn, kCublasLt;

  /// Looks where `variable` says, else where the loader looks (LD_LIBRARY_PATH, ld.so.conf).
  /// Error(kMachine) that says what was not found, where, and how to get it.
  explicit Library(const Source& source);

  void* handle() const { return handle_; }
  const std::string& file() const { return file_; }  ///< as it was opened
  /// Error(kMachine) for a version, as the library gives it, that is older than the least.
  void check_version(size_t version) const;

  /// A function's address as its own type: function<decltype(cudnnCreate)>("cudnnCreate").
  /// Error(kMachine) where the library has none.
  template <class F>
  F* function(const char* name) const {
    return reinterpret_cast<F*>(address(name));
  }

 private:
  void* address(const char* name) const;

  const Source& source_;
  void* handle_ = nullptr;
  std::string file_;
};

}  // namespace passnorm
