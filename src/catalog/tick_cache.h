// TickCache: the tick's record as it was last read. Every plan needs it, it changes once a tick, and what it keeps of
// past ticks makes it the longest of the small records to decode. Thread-safe.
#pragma once

#include <mutex>
#include <string>
#include <string_view>

#include "catalog/records.h"

namespace hansa::catalog {

class TickCache {
 public:
  // As decode_tick(); the same text again costs a comparison and a copy.
  Result<TickRecord> decode(std::string_view value) {
    {
      const std::lock_guard lock(mutex_);
      if (!value_.empty() && value_ == value) return record_;
    }
    HANSA_TRY(TickRecord record, decode_tick(value));
    const std::lock_guard lock(mutex_);
    value_ = value;
    record_ = record;
    return record;
  }

 private:
  std::mutex mutex_;
  std::string value_;  // the text of record_; empty: none yet
  TickRecord record_;
};

}  // namespace hansa::catalog
