// What was chosen for a problem, kept on disk: the next start chooses the same without measuring,
// and so gives the same bits.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace passnorm::kernels {

/// One line of text by key, in a file that holds for one identity (library versions, device). A
/// file that is damaged or of another identity counts as empty. Files are replaced as a whole, so
/// that several processes and streams may share one; where none can be written, choices last as
/// long as this object.
class PlanCache {
 public:
  /// file: empty for none.
  PlanCache(std::filesystem::path file, std::string identity);

  std::optional<std::string> find(const std::string& key) const;
  /// Neither has a tab or a line break.
  void store(const std::string& key, const std::string& value);

  /// $XDG_CACHE_HOME/passnorm, or ~/.cache/passnorm; empty when neither is set.
  static std::filesystem::path folder();

 private:
  std::filesystem::path file_;
  std::string identity_;
  std::map<std::string, std::string> lines_;
};

}  // namespace passnorm::kernels
