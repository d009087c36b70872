// passnorm doctor: what this machine is, what the program does with it, and what to change.
#include <fmt/format.h>
#include <omp.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "cli/app.hpp"
#include "cli/help.hpp"
#include "cli/options.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/machine.hpp"
#include "passnorm/version.hpp"
#include "train/data/synthetic.hpp"
#include "train/step.hpp"

namespace passnorm::cli {
namespace {

namespace fs = std::filesystem;

enum class Level { kOk, kNote, kProblem };

struct Finding {
  const char* name;
  Level level = Level::kOk;
  std::string value;
  std::string advice = {};  ///< for a note or a problem
  Json data = nullptr;      ///< the same for programs
};

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

/// Of a file of `key: value` lines.
std::string value_of(const std::string& path, std::string_view key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos || !line.starts_with(key)) continue;
    const size_t at = line.find_first_not_of(" \t", colon + 1);
    return at == std::string::npos ? std::string() : line.substr(at);
  }
  return {};
}

std::optional<double> number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return {};
  return value;
}

/// A limit of the control group that this process is in, or of one around it: the least value of
/// the file in version 2 (`unified`) or 1 (`controller`/`legacy`).
std::optional<double> group_limit(const char* unified, const char* controller, const char* legacy,
                                  const std::function<std::optional<double>(std::string)>& read) {
  std::optional<double> least;
  const auto look = [&](const fs::path& root, std::string group, const char* file) {
    for (fs::path at = root / fs::path(group).relative_path();; at = at.parent_path()) {
      if (const auto v = read((at / file).string()); v && (!least || *v < *least)) least = v;
      if (at == root || at == at.root_path()) break;
    }
  };
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {  // number:controllers:group
    const size_t a = line.find(':'), b = line.find(':', a + 1);
    if (b == std::string::npos) continue;
    const std::string controllers = line.substr(a + 1, b - a - 1), group = line.substr(b + 1);
    if (controllers.empty()) look("/sys/fs/cgroup", group, unified);
    if (("," + controllers + ",").find(fmt::format(",{},", controller)) != std::string::npos)
      look(fs::path("/sys/fs/cgroup") / controller, group, legacy);
  }
  return least;
}

std::string gib(double bytes) {
  return bytes < 1e9 ? fmt::format("{:.0f} MiB", bytes / (1 << 20))
                     : fmt::format("{:.1f} GiB", bytes / (1 << 30));
}

Finding program() {
  Finding f{.name = "program",
            .value = fmt::format("passnorm {}, commit {}, {}, {}", kVersion, kCommit, kCompiler,
                                 kBuildType)};
  f.data = {{"version", kVersion},
            {"commit", kCommit},
            {"compiler", kCompiler},
            {"build_type", kBuildType}};
  if (std::string_view(kBuildType) != "Release" &&
      std::string_view(kBuildType) != "RelWithDebInfo") {
    f.level = Level::kNote;
    f.advice = "this build is for finding faults; for speed use: cmake --preset cpu";
  }
  return f;
}

Finding processor() {
  std::string name = value_of("/proc/cpuinfo", "model name");
  utsname system{};
  uname(&system);
  if (name.empty()) name = "a processor that does not tell its name";
  return {.name = "processor",
          .value = fmt::format("{} ({}), {} {}", printable(name), system.machine, system.sysname,
                               system.release),
          .data = {{"name", printable(name)}, {"architecture", system.machine}}};
}

Finding cores() {
  const int usable = omp_get_num_procs();
  const auto online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  const auto quota = group_limit(
      "cpu.max", "cpu", "cpu.cfs_quota_us", [](const std::string& path) -> std::optional<double> {
        std::istringstream in(first_line(path));
        std::string of, per;
        in >> of >> per;
        if (per.empty()) per = first_line(fs::path(path).parent_path() / "cpu.cfs_period_us");
        const auto a = number(of), b = number(per);
        if (!a || !b || *a <= 0 || *b <= 0) return {};
        return *a / *b;
      });
  Finding f{
      .name = "cores",
      .value = fmt::format("{} of {} may be used, {} threads by default", usable, online, usable)};
  f.data = {
      {"usable", usable}, {"machine", online}, {"quota", quota ? Json(*quota) : Json(nullptr)}};
  if (quota && *quota < usable) {
    f.value += fmt::format("; the control group pays for {:.1f}", *quota);
    f.level = Level::kNote;
    f.advice = fmt::format("use --threads {}: more threads than that wait for each other",
                           std::max(1, static_cast<int>(*quota)));
  }
  return f;
}

Finding vectors() {
  const CpuKernels k = cpu_kernels();
  Finding f{.name = "vectors"};
  std::string found;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const auto has = [&](bool is, const char* name) { found += is ? fmt::format(" {}", name) : ""; };
  has(__builtin_cpu_supports("sse4.2"), "sse4.2");
  has(__builtin_cpu_supports("avx2"), "avx2");
  has(__builtin_cpu_supports("fma"), "fma");
  has(__builtin_cpu_supports("avx512f"), "avx512f");
  has(__builtin_cpu_supports("avx512bw"), "avx512bw");
  has(__builtin_cpu_supports("avx512vnni"), "avx512_vnni");
  has(__builtin_cpu_supports("avx512bf16"), "avx512_bf16");
#endif
  f.value = fmt::format("norms and passports use {}, convolutions {}; found:{}",
                        k.vectors.empty() ? "none" : k.vectors[0], k.convolution_vectors,
                        found.empty() ? " nothing that is asked for" : found);
  f.data = {{"kernels", k.vectors.empty() ? "none" : k.vectors[0]},
            {"convolution", k.convolution_vectors},
            {"found", found.empty() ? "" : found.substr(1)}};
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2")) {
    f.level = Level::kNote;
    f.advice = "without AVX2 training takes several times longer; use a newer processor";
  }
#endif
  return f;
}

/// One training step of the smallest network.
void try_step(Device device, DType precision) {
  // The first engine for every convolution: to time several takes seconds for each.
  const auto model = models::make("tiny", {}, make_stream(device, StreamOptions{.engines = 1}));
  const train::Dataset set =
      train::synthetic(train::SyntheticOptions::of_size(8), train::Split::kTrain);
  const train::DeviceDataset images(model->stream(), set);
  const std::vector<int64_t> index = {0, 1, 2, 3, 4, 5, 6, 7};
  const train::Batch batch = images.batch(index, precision);
  const auto r =
      train::forward_backward(*model, nullptr, batch.x, batch.labels, model->training_lanes(), {});
  const float loss = r.losses.loss.to_host(model->stream()).at(0);
  if (!(loss > 0 && loss < 100)) fail(Fault::kBug, "a training step gave the loss ", loss);
}

Finding training() {
  Finding f{.name = "training"};
  std::vector<Device> devices{Device::cpu()};
  const GpuReport report = gpu_report();
  if (report.first() && (report.emulated || why_cpu().empty()))
    devices.push_back(Device::cuda(*report.first()));
  for (const Device device : devices) {
    Json& data = f.data[device.name()];
    std::string ran;
    for (const DType precision : {DType::kF32, DType::kBF16, DType::kF16}) {
      const char* const name = passnorm::name_of(precision);
      data[name] = false;
      try {
        try_step(device, precision);
        data[name] = true;
        ran += fmt::format("{}{}", ran.empty() ? "" : ", ", name);
      } catch (const std::exception& e) {
        f.level = Level::kProblem;
        f.advice = fmt::format("{} in {}: {}; report this line with the program's version",
                               device.name(), name, printable(e.what(), 300));
      }
    }
    f.value += fmt::format("{}{} ran a step of a small network: {}", f.value.empty() ? "" : "; ",
                           device.name(), ran.empty() ? "none" : ran);
#if defined(__x86_64__)
    if (device == Device::cpu() && !__builtin_cpu_supports("avx512bf16"))
      f.value += " (bf16 and f16 are stored so and computed in f32: no faster)";
#endif
  }
  return f;
}

Finding threads() {
  const char* policy = std::getenv("OMP_WAIT_POLICY");
  const char* spins = std::getenv("GOMP_SPINCOUNT");  // set by main() where neither was
  Finding f{.name = "threads",
            .value = fmt::format("OpenMP {}, {} {}", _OPENMP,
                                 policy ? "OMP_WAIT_POLICY" : "GOMP_SPINCOUNT",
                                 printable(policy  ? policy
                                           : spins ? spins
                                                   : "not set"))};
  f.data = {{"openmp", _OPENMP}, {"wait_policy", policy ? Json(printable(policy)) : Json(nullptr)}};
  if (const char* limit = std::getenv("OMP_THREAD_LIMIT");
      limit && std::atoi(limit) < omp_get_num_procs()) {
    f.level = Level::kNote;
    f.advice = fmt::format("OMP_THREAD_LIMIT {} keeps cores idle; unset it, or give --threads",
                           printable(limit));
  } else if (!policy && spins) {
    f.value += ": threads that wait soon sleep, as other programs may want the cores";
  }
  return f;
}

Finding memory() {
  const auto kib = [](const char* key) {
    return 1024 * number(value_of("/proc/meminfo", key)).value_or(0);
  };
  const double total = kib("MemTotal"), available = kib("MemAvailable");
  const auto limit = group_limit("memory.max", "memory", "memory.limit_in_bytes",
                                 [](const std::string& path) { return number(first_line(path)); });
  Finding f{.name = "memory", .value = fmt::format("{} free of {}", gib(available), gib(total))};
  const bool limited = limit && *limit < total;
  if (limited) f.value += fmt::format("; the control group allows {}", gib(*limit));
  f.data = {{"total", total},
            {"available", available},
            {"limit", limited ? Json(*limit) : Json(nullptr)}};
  const double left = limited ? std::min(available, *limit) : available;
  if (left < 256.0 * (1 << 20)) {
    f.level = Level::kProblem;
    f.advice = "the smallest network needs about 256 MiB; end other programs or raise the limit";
  } else if (left < 2.0 * (1 << 30)) {
    f.level = Level::kNote;
    f.advice = "a ResNet-18 at batch 64 on CIFAR-10 needs about 1 GiB; use a smaller --batch";
  }
  return f;
}

Finding huge_pages() {
  const std::string line = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  const size_t open = line.find('['), close = line.find(']');
  const std::string mode =
      close == std::string::npos ? "unknown" : line.substr(open + 1, close - open - 1);
  Finding f{.name = "huge pages", .value = printable(mode), .data = printable(mode)};
  if (mode == "never") {
    f.level = Level::kNote;
    f.advice =
        "steps are faster with them: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled";
  }
  return f;
}

Finding secrets() {
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  const bool unlimited = limit.rlim_cur == RLIM_INFINITY;
  Finding f{.name = "secrets",
            .value = unlimited ? "may all stay out of the swap"
                               : fmt::format("{} of them may stay out of the swap",
                                             gib(static_cast<double>(limit.rlim_cur)))};
  f.data = unlimited ? Json(nullptr) : Json(static_cast<uint64_t>(limit.rlim_cur));
  if (!unlimited && limit.rlim_cur < (1u << 20)) {
    f.level = Level::kNote;
    f.advice = "keys can be written to the swap; raise the limit: ulimit -l";
  }
  return f;
}

Finding gpu() {
  std::error_code error;
  const bool driver =
      fs::exists("/proc/driver/nvidia/version", error) || fs::exists("/dev/nvidiactl", error);
  const GpuReport report = gpu_report();
  const bool build = !report.runtime.empty();
  Finding f{.name = "GPU"};
  Json gpus = Json::array();
  for (size_t i = 0; i < report.gpus.size(); ++i) {
    const GpuReport::Gpu& g = report.gpus[i];
    const auto memory = static_cast<double>(g.memory_bytes);
    f.value += fmt::format("cuda:{} is {}, compute capability {}.{}, {} multiprocessors, {}; ", i,
                           printable(g.name), g.compute_major, g.compute_minor, g.multiprocessors,
                           gib(memory));
    gpus.push_back({{"name", printable(g.name)},
                    {"compute_capability", fmt::format("{}.{}", g.compute_major, g.compute_minor)},
                    {"multiprocessors", g.multiprocessors},
                    {"memory", g.memory_bytes},
                    {"usable", report.why_not(static_cast<int>(i)).empty()}});
  }
  f.data = {{"build", build}, {"driver", driver}, {"runtime", report.runtime}, {"gpus", gpus}};
  if (!report.gpus.empty()) {
    f.value += report.runtime;
    if (!report.first()) {
      f.level = Level::kNote;
      f.advice = "the CPU computes: " + report.why_not(0);
    }
  } else if (build) {
    f.value = fmt::format("none, so the CPU computes: {} ({})", report.why_none, report.runtime);
    f.level = driver ? Level::kNote : Level::kOk;
    if (driver)
      f.advice = "nvidia-smi shows what the driver gives; this build needs the driver of its CUDA";
  } else {
    f.value = "this build computes on the CPU";
    if (driver) {
      f.level = Level::kNote;
      f.value = "an NVIDIA driver is here, but this build computes on the CPU";
      f.advice = "build with -DPASSNORM_CUDA=ON: CMake then says what is missing";
    }
  }
  return f;
}

/// cuDNN and cuBLASLt, which only a GPU needs.
Finding gpu_library_files() {
  Finding f{.name = "GPU libs"};
  Json data = Json::array();
  const bool needed = gpu_report().first().has_value();
  for (const GpuLibrary& library : gpu_libraries()) {
    const bool found = library.problem.empty();
    f.value += fmt::format("{}{}", f.value.empty() ? "" : ", ", library.name);
    f.value += found ? fmt::format(": {} in {}", library.version, printable(library.file, 4096))
                     : " not found";
    data.push_back({{"name", library.name},
                    {"file", found ? Json(printable(library.file, 4096)) : Json(nullptr)},
                    {"version", found ? Json(library.version) : Json(nullptr)}});
    if (found || !needed) continue;
    f.level = Level::kNote;
    f.advice += (f.advice.empty() ? "the CPU computes: " : "; ") + printable(library.problem, 1000);
  }
  if (f.value.empty()) f.value = "this build needs none";
  f.data = data;
  return f;
}

/// File names of the shared libraries that are loaded, with the version that they carry.
Finding libraries() {
  std::set<std::string> loaded;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (const size_t slash = line.rfind('/'); slash != std::string::npos)
      loaded.insert(line.substr(slash + 1));
  Json data = {{"convolution", cpu_kernels().convolution}};
  std::string value = cpu_kernels().convolution;
  for (const char* name : {"libsodium", "libturbojpeg", "libpng", "libgomp", "libomp", "libhwy"})
    for (const std::string& file : loaded)
      if (file.starts_with(name)) {
        value += ", " + file;
        data[name] = file;
      }
  return {.name = "libraries", .value = value, .data = data};
}

Finding folder() {
  std::error_code error;
  const fs::path here = fs::current_path(error);
  const fs::space_info space = fs::space(here, error);
  const bool writable = access(".", W_OK) == 0;
  Finding f{.name = "folder",
            .value = fmt::format("{}: {} free", printable(here.string(), 4096),
                                 error ? "unknown" : gib(static_cast<double>(space.available)))};
  f.data = {{"path", printable(here.string(), 4096)},
            {"writable", writable},
            {"available", error ? Json(nullptr) : Json(space.available)}};
  if (!writable) {
    f.level = Level::kNote;
    f.value += ", not writable";
    f.advice = "give --out a folder that you may write to";
  } else if (!error && space.available < (uint64_t{1} << 30)) {
    f.level = Level::kNote;
    f.advice = "a run of a ResNet-18 keeps about 0.3 GiB of checkpoints; give --out another disk";
  }
  return f;
}

int run(bool json) {
  const std::vector<Finding> findings = {program(), processor(),         cores(),    vectors(),
                                         gpu(),     gpu_library_files(), training(), threads(),
                                         memory(),  huge_pages(),        secrets(),  libraries(),
                                         folder()};
  const auto count = [&](Level level) {
    return std::ranges::count(findings, level, &Finding::level);
  };
  const bool usable = count(Level::kProblem) == 0;
  static constexpr const char* kLevels[] = {"ok", "note", "problem"};
  const auto level = [](const Finding& f) { return kLevels[static_cast<int>(f.level)]; };
  if (json) {
    Json checks = Json::array();
    for (const Finding& f : findings)
      checks.push_back({{"name", f.name},
                        {"level", level(f)},
                        {"value", f.value},
                        {"advice", f.advice.empty() ? Json(nullptr) : Json(f.advice)},
                        {"data", f.data}});
    print_json({{"usable", usable}, {"checks", checks}});
  } else {
    for (const Finding& f : findings) {
      fmt::print("{:<8} {:<11} {}\n", level(f), f.name, wrapped(f.value, 21, 21));
      if (!f.advice.empty()) fmt::print("{:20} {}\n", "", wrapped("-> " + f.advice, 21, 24));
    }
    fmt::print("\n{}\n", !usable ? "passnorm cannot be used here: see the problem above."
                         : count(Level::kNote) > 0
                             ? "passnorm can be used here; the notes say what would be better."
                             : "passnorm can be used here. Try: passnorm demo");
  }
  return usable ? kYes : static_cast<int>(Fault::kMachine);
}

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("doctor", "What this machine can do, and what to change");
  auto json = std::make_shared<bool>(false);
  OptionTable(*command).call_flag("json", *json, "one JSON document on stdout");
  command->footer("Example: passnorm doctor --json");
  command->callback([json, &action] { action = [json] { return run(*json); }; });
}

}  // namespace passnorm::cli
