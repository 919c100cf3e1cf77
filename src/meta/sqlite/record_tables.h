// The tables that hold records, and the projections beside them: what a store and a replica of one have in common.
// Private to this room; the caller's writer connection and, where it changes several things, the caller's transaction.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "meta/sqlite/database.h"

namespace hansa::meta::sqlite {

// `kv` and `meta`, if absent. unsupported: a newer version wrote them.
Result<void> create_record_tables(Connection& connection, std::string_view path);

// After an unclean end. corrupt: a database of moderate size was looked through and is broken.
Result<void> check_structure(Connection& connection);

Result<std::int64_t> get_meta(Connection& connection, std::string_view key);
Result<void> set_meta(Connection& connection, std::string_view key, std::int64_t value);

// Fills projections that are new here from all records, each in a transaction of its own.
Result<void> prepare_projections(Connection& connection, std::span<Projection* const> projections, Revision revision);

// Records after `after` in key order, at most `limit`.
Result<std::vector<KeyValue>> records_after(Connection& connection, std::string_view after, std::size_t limit);

}  // namespace hansa::meta::sqlite
