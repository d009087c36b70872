#include "cli/app.hpp"

int main(int argc, char** argv) { return passnorm::cli::run(argc, argv); }
