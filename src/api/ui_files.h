// The files of src/api/ui as they stand in the program: made at build time by tools/embed.py.
#pragma once

#include <span>
#include <string_view>

namespace hansa::api {

struct UiFile {
  std::string_view name;  // without a folder
  std::string_view text;
};

std::span<const UiFile> ui_files();

}  // namespace hansa::api
