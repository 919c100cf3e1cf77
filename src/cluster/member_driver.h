// MemberDriver: this node's part in the membership: its start, its sign of life with load figures, and, as leader of
// the task "layout", the layouts that joins and drains ask for. Decisions are the planners' (catalog/member_plan.h).
//
// Everything given outlives it; loops run in the node's scope. A sign of life decides nothing but whom to ask.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "base/log.h"
#include "catalog/catalog.h"
#include "catalog/member_plan.h"
#include "io/scope.h"

namespace hansa::cluster {

inline constexpr io::Duration alive_ttl = std::chrono::seconds(2);
inline constexpr io::Duration alive_interval = std::chrono::seconds(2);  // between load figures, if they changed
inline constexpr io::Duration layout_interval = std::chrono::milliseconds(500);
inline constexpr io::Duration old_self_patience = std::chrono::seconds(12);  // for the sign of life of the life before

class MemberDriver {
 public:
  // Leadership of the task "layout"; empty while another node has it.
  using Lead = std::function<io::Task<Result<std::optional<catalog::TaskHold>>>()>;
  using Load = std::function<catalog::AliveRecord()>;
  MemberDriver(meta::MetadataStore& store, catalog::Catalog& catalog, Logger& log, std::string id, Load load,
               Lead lead);

  // Registers this start: node/<id> and alive/<id>. Waits for the sign of life of a life before to run out; conflict:
  // another process is alive as this node.
  io::Task<Result<void>> start(catalog::NodeRecord record);
  void run(io::TaskScope& scope);
  // The sign of life ends now.
  void end() { lease_.reset(); }
  // Another process took this node's place, or it was forgotten: nothing of it counts any more.
  bool displaced() const { return displaced_; }

 private:
  io::Task<Result<void>> try_start();
  io::Task<void> alive_loop();
  io::Task<Result<void>> say_alive(bool again);
  io::Task<void> layout_loop();
  struct Duty {  // what a leader would have to do now
    bool layout = false;
    std::vector<std::string> leaving;  // drains that may end
  };
  Result<Duty> duty();
  io::Task<Result<void>> change_layout();

  meta::MetadataStore& store_;
  catalog::Catalog& catalog_;
  Logger& log_;
  const std::string id_;
  Load load_;
  Lead lead_;
  catalog::NodeRecord record_;
  std::unique_ptr<meta::Lease> lease_;
  catalog::AliveRecord said_;
  std::atomic<bool> displaced_ = false;
};

}  // namespace hansa::cluster
