#include "peer/replay_guard.h"

namespace hansa::peer {
namespace {
constexpr std::size_t boot_bytes = 16;
}

ReplayGuard::ReplayGuard(io::Random& random, std::size_t capacity)
    : random_(random), capacity_(capacity), boot_(random.hex(boot_bytes)) {}

ReplayGuard::Verdict ReplayGuard::admit(const std::string& boot, const std::string& nonce) {
  const std::scoped_lock lock(lock_);
  if (boot != boot_) return Verdict::other_boot;
  if (seen_.contains(nonce)) return Verdict::repeated;
  if (seen_.size() >= capacity_) {
    boot_ = random_.hex(boot_bytes);
    seen_.clear();
    return Verdict::other_boot;
  }
  seen_.insert(nonce);
  return Verdict::fresh;
}

std::string ReplayGuard::boot() {
  const std::scoped_lock lock(lock_);
  return boot_;
}

}  // namespace hansa::peer
