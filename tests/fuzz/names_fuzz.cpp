// The small languages of the command line: data sets, triggers, schedules.
#include <cmath>

#include "engine/io/file.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "train/data/cross_domain.hpp"
#include "train/schedule.hpp"

void passnorm::fuzz::run(std::span<const std::byte> input) {
  accepts({Fault::kUsage}, [&] { train::parse_data_spec(text_of(input)); });
  accepts({Fault::kUsage}, [&] { train::parse_cross_domain(text_of(input)); });
  train::Schedule schedule;
  if (!accepts({Fault::kUsage}, [&] { schedule = train::Schedule::parse(text_of(input)); })) return;
  for (int64_t epoch = 0; epoch < 6; ++epoch)
    for (const int64_t step : {0, 2}) {
      const float factor = schedule.factor(epoch, step, 6, 3);
      require(std::isfinite(factor) && factor >= 0, "every factor is a rate");
      require(train::Schedule::parse(schedule.text()).factor(epoch, step, 6, 3) == factor,
              "a schedule is read as it was written");
    }
}
