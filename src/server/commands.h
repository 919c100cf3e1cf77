// The command line of `hansa`. Exit codes: 0 done, 1 it went wrong (the message says what and what to do), 2 the
// command line is not understood.
#pragma once

namespace hansa::server {

int run_command_line(int argc, char** argv);

}  // namespace hansa::server
