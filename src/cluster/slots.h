// Slots: how many may do one thing at the same time; the others wait in the order of their coming, for a while. Each
// kind of work has slots of its own, so that none waits for another's (trap T8).
//
// Thread-safe; a waiter resumes on its own executor. Outlives what it gave.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>

#include "io/wait.h"

namespace hansa::cluster {

class Slots {
 public:
  // `what` names the work in errors; a literal.
  Slots(std::string_view what, std::size_t count) : what_(what), free_(count) {}
  Slots(const Slots&) = delete;
  Slots& operator=(const Slots&) = delete;

  class Held {
   public:
    explicit Held(Slots& owner) : owner_(&owner) {}
    Held(Held&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
    Held& operator=(Held&&) = delete;
    ~Held() {
      if (owner_ != nullptr) owner_->give_back();
    }

   private:
    Slots* owner_;
  };

  // too_many when none came free within `patience`; cancelled.
  io::Task<Result<Held>> take(io::Duration patience);

 private:
  struct Waiter {
    io::Completion<bool> completion;
    bool settled = false;  // under mutex_: it has the slot, or does not want it any more
  };
  void give_back();
  bool try_take();
  io::Work queue(io::Completion<bool> completion);
  io::Task<Result<void>> wait();

  const std::string_view what_;
  std::mutex mutex_;
  std::size_t free_;
  std::deque<std::shared_ptr<Waiter>> waiting_;
};

}  // namespace hansa::cluster
