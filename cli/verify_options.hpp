// What `passnorm verify` is told.
#pragma once

#include "cli/app.hpp"

namespace passnorm::cli {

struct VerifyOptions {
  ModelArgument model;
  Machine machine;
  std::string data;
  int64_t limit_test = 0;
  verify::ExamineOptions examine;
  bool json = false;

  bool black_box = false;
  std::string triggers;           ///< folder, or a second data set
  std::string owner_file;         ///< of the triggers, or empty
  std::string predictions;        ///< a table in place of the model, or empty
  std::string decoy_predictions;  ///< beside it
  int64_t decoys = 1000;          ///< how many are shown to the model
  int64_t classes = 0;            ///< of predictions; 0: those the labels are bound to

  const CLI::App* command = nullptr;
  bool given(const char* option) const { return command->count(option) > 0; }
};

/// verify --black-box: does the network know the owner's triggers?
int verify_black_box(const VerifyOptions& options);

}  // namespace passnorm::cli
