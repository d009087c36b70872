// SIGINT and SIGTERM as a request.
#pragma once

namespace passnorm::cli {

/// While it lives, the first SIGINT or SIGTERM is remembered and the second one kills. Signals that
/// were ignored stay so (nohup). One at a time.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  bool asked() const;
};

}  // namespace passnorm::cli
