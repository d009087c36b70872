#include "kernels/cuda/plan_cache.hpp"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "kernels/runtime/check.hpp"

namespace passnorm::kernels {
namespace {

constexpr const char* kHeader = "passnorm plans 1";

/// FNV-1a: tells a cut or edited file from a whole one.
std::string checksum(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  std::ostringstream out;
  out << std::hex << hash;
  return out.str();
}

std::map<std::string, std::string> read(const std::filesystem::path& file,
                                        const std::string& identity) {
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  const size_t end = text.rfind("end ");
  if (end == std::string::npos || text.substr(end) != "end " + checksum(text.substr(0, end)) + "\n")
    return {};
  std::istringstream body(text.substr(0, end));
  std::string line;
  if (!std::getline(body, line) || line != kHeader) return {};
  if (!std::getline(body, line) || line != identity) return {};
  std::map<std::string, std::string> lines;
  while (std::getline(body, line)) {
    const size_t tab = line.find('\t');
    if (tab != std::string::npos) lines[line.substr(0, tab)] = line.substr(tab + 1);
  }
  return lines;
}

}  // namespace

PlanCache::PlanCache(std::filesystem::path file, std::string identity)
    : file_(std::move(file)), identity_(std::move(identity)) {
  if (!file_.empty()) lines_ = read(file_, identity_);
}

std::optional<std::string> PlanCache::find(const std::string& key) const {
  const auto it = lines_.find(key);
  return it == lines_.end() ? std::nullopt : std::optional(it->second);
}

void PlanCache::store(const std::string& key, const std::string& value) {
  PASSNORM_CHECK((key + value).find_first_of("\t\n") == std::string::npos, key, " ", value);
  lines_[key] = value;
  if (file_.empty()) return;
  // Another process may have written since; where both chose, the file's choice stays, so that
  // those who start later agree.
  auto merged = read(file_, identity_);
  merged.insert(lines_.begin(), lines_.end());
  std::string text = concat(kHeader, "\n", identity_, "\n");
  for (const auto& [k, v] : merged) text += concat(k, "\t", v, "\n");
  text += concat("end ", checksum(text), "\n");
  std::error_code failed;
  std::filesystem::create_directories(file_.parent_path(), failed);
  const std::filesystem::path unfinished =
      concat(file_.string(), ".", getpid(), ".", static_cast<const void*>(this));
  std::ofstream out(unfinished, std::ios::binary);
  out << text;
  out.close();
  if (out) std::filesystem::rename(unfinished, file_, failed);
  if (!out || failed) std::filesystem::remove(unfinished, failed);
}

std::filesystem::path PlanCache::folder() {
  const auto set = [](const char* name) {
    const char* const value = std::getenv(name);
    return std::filesystem::path(value != nullptr ? value : "");
  };
  if (const auto cache = set("XDG_CACHE_HOME"); cache.is_absolute()) return cache / "passnorm";
  if (const auto home = set("HOME"); !home.empty()) return home / ".cache" / "passnorm";
  return {};
}

}  // namespace passnorm::kernels
