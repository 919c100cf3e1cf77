// The key table: every key that a configuration file may hold, as data. It drives the loader (types, defaults, unknown
// keys, what is not built yet) and `hansa schema`.
//
// A path is keys joined by '.'; "*" stands for any key of a map, and the keys below a list of objects are those of its
// elements. What stands under "storage." (but subPaths) stands under "storage.subPaths.*." too.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hansa::server::config {

enum class Type : std::uint8_t {
  object,   // the keys below it, no others
  map,      // any key; each value is an object of the keys below "*"
  objects,  // a list of objects
  free,     // anything
  text,
  texts,  // a list of text; one text counts as a list
  boolean,
  integer,
  number,
  duration,
};

enum class State : std::uint8_t {
  built,
  accepted,   // understood; there is nothing to do
  ignored,    // accepted with a warning
  not_built,  // an error, unless its value switches it off
};

struct Key {
  std::string_view path;
  Type type = Type::text;
  State state = State::built;
  std::string_view fallback;  // the default, as a file would write it
  std::string_view help;
};

std::vector<const Key*> key_table();

// The same as a tree.
struct Schema {
  const Key* key = nullptr;                                 // null: the root
  std::string name;                                         // as the table writes it
  std::map<std::string, std::unique_ptr<Schema>> children;  // by the name in lower case; "*" of a map
};
std::unique_ptr<Schema> make_schema();

// JSON Schema (draft 7) of the table, indented, with a final newline.
std::string print_json_schema();

}  // namespace hansa::server::config
