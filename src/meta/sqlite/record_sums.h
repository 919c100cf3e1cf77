// RecordSums: what two copies of the same records compare: 128-bit sums of the hashes of (key, mod, value) by first
// path component, the same in whatever order the records came. Private to this room.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "meta/store.h"

namespace hansa::meta::sqlite {

class RecordSums {
 public:
  void add(const KeyValue& record);                               // leased keys (alive/, task/) are left out
  std::vector<std::pair<std::string, std::string>> take() const;  // component, hexadecimal; in order

 private:
  struct Sum {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
  };
  std::map<std::string, Sum, std::less<>> sums_;
};

}  // namespace hansa::meta::sqlite
