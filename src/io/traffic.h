// Traffic: payload bytes that one server has moved since its start: bodies of requests and answers in both directions,
// of clients and of peers, without heads and framing. For people and charts; nothing is decided by it.
//
// Counted while the bytes move, so that a long transfer shows at once. Thread-safe; two relaxed counters.
#pragma once

#include <atomic>
#include <cstdint>

namespace hansa::io {

class Traffic {
 public:
  void add_sent(std::uint64_t bytes) { sent_.fetch_add(bytes, std::memory_order_relaxed); }
  void add_received(std::uint64_t bytes) { received_.fetch_add(bytes, std::memory_order_relaxed); }
  std::uint64_t sent() const { return sent_.load(std::memory_order_relaxed); }
  std::uint64_t received() const { return received_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> sent_ = 0;
  std::atomic<std::uint64_t> received_ = 0;
};

}  // namespace hansa::io
