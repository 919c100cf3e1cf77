#include "voters/found.h"

#include <algorithm>

#include "catalog/records.h"
#include "meta/etcd/rules.h"

namespace hansa::voters {
namespace {

constexpr std::size_t batch_records = 100;
constexpr std::size_t batch_bytes = 512 * 1024;
constexpr io::Duration batch_deadline = std::chrono::seconds(10);

// As the cluster is to have it.
Result<std::string> value_of(const meta::KeyValue& record) {
  if (record.key != catalog::keys::tick) return record.value;
  HANSA_TRY(auto tick, catalog::decode_tick(record.value));
  tick.past.clear();
  return catalog::encode(tick);
}

}  // namespace

io::Task<Result<std::uint64_t>> copy_records(meta::MetadataStore& from, meta::etcd::Channel& to, std::string prefix) {
  meta::etcd::RangeRequest any{.key = prefix, .end = meta::etcd::prefix_end(prefix), .limit = 1};
  HANSA_CO_TRY(const auto there, co_await to.range(any, batch_deadline));
  if (there.count > 0) {
    co_return make_error(ErrorCode::exists,
                         "etcd holds records below " + prefix + " already; they are another registry's");
  }
  std::uint64_t copied = 0;
  std::string after;
  while (true) {
    std::vector<meta::KeyValue> page;
    {
      HANSA_CO_TRY(const auto view, from.snapshot());
      HANSA_CO_TRY(page, view->range("", after, batch_records));
    }
    if (page.empty()) co_return copied;
    meta::Commit batch{.operation = "take-over-" + std::to_string(copied), .compares = {}, .puts = {}, .deletes = {}};
    std::size_t bytes = 0;
    for (const auto& record : page) {
      if (!batch.puts.empty() && bytes + record.value.size() > batch_bytes) break;
      after = record.key;
      if (record.key == meta::head_key || meta::etcd::is_leased_key(record.key)) continue;
      HANSA_CO_TRY(auto value, value_of(record));
      bytes += record.key.size() + value.size();
      batch.puts.push_back({.key = record.key, .value = std::move(value), .lease = 0});
    }
    if (batch.puts.empty()) continue;
    copied += batch.puts.size();
    const auto request = meta::etcd::to_transaction(batch, prefix, nullptr);
    HANSA_CO_TRY(const auto reply, co_await to.txn(request, batch_deadline));
    if (!reply.succeeded) co_return make_error(ErrorCode::internal, "etcd refused to take over records");
  }
}

}  // namespace hansa::voters
