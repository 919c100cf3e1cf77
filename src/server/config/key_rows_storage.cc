#include "server/config/key_rows.h"

namespace hansa::server::config {

using enum Type;
using enum State;

// clang-format off: a table, one key a line
const std::array<Key, 47> storage_rows =
  {{
    {"distSpecVersion", text, built, "1.1.1", "version of the distribution specification; for information"},
    {"goVersion", text, accepted, "", "build information of zot"},
    {"commit", text, accepted, "", "build information of zot"},
    {"releaseTag", text, accepted, "", "build information of zot"},
    {"binaryType", text, accepted, "", "build information of zot"},
    {"storage", object, built, "", "where and how content is kept"},
    {"storage.rootDirectory", text, built, "", "folder of all data; required"},
    {"storage.dedupe", boolean, accepted, "true", "content is always stored once"},
    {"storage.gc", boolean, built, "true", "collect what nothing refers to"},
    {"storage.gcDelay", duration, built, "1h", "grace time of unreferenced content"},
    {"storage.gcInterval", duration, built, "1h", "time from one collection to the next"},
    {"storage.gcTimeWindow", text, not_built, "", "hours of the day in which a collection may start"},
    {"storage.gcMaxSchedulerDelay", duration, accepted, "", "pauses of zot's scheduler"},
    {"storage.commit", boolean, accepted, "true", "a push is always durable before it is acknowledged"},
    {"storage.remoteCache", boolean, not_built, "", "keep metadata in cacheDriver"},
    {"storage.redirectBlobURL", boolean, not_built, "", "send clients to the object store for blobs"},
    {"storage.maxRepos", integer, not_built, "0", "greatest number of repositories"},
    {"storage.fastRestart", boolean, accepted, "", "a start never reads the content"},
    {"storage.verifyEvery", duration, built, "24h", "age of a check after which bytes are checked anew"},
    {"storage.retention", object, built, "", "which manifests are kept"},
    {"storage.retention.dryRun", boolean, built, "", "only tell what would be removed"},
    {"storage.retention.delay", duration, built, "", "grace time of untagged manifests; default: gcDelay"},
    {"storage.retention.policies", objects, built, "", "rules by repository"},
    {"storage.retention.policies.repositories", texts, built, "", "patterns of repositories"},
    {"storage.retention.policies.deleteReferrers", boolean, built, "", "remove referrers of what is gone"},
    {"storage.retention.policies.deleteUntagged", boolean, built, "true", "remove untagged manifests"},
    {"storage.retention.policies.keepTags", objects, built, "", "tags to keep"},
    {"storage.retention.policies.keepTags.patterns", texts, built, "", "regular expressions of tags"},
    {"storage.retention.policies.keepTags.mostRecentlyPushedCount", integer, built, "0", "keep the newest"},
    {"storage.retention.policies.keepTags.mostRecentlyPulledCount", integer, built, "0", "keep those pulled"},
    {"storage.retention.policies.keepTags.pushedWithin", duration, built, "", "keep what was just pushed"},
    {"storage.retention.policies.keepTags.pulledWithin", duration, built, "", "keep what was just pulled"},
    {"storage.retention.policies.keepUntagged", object, built, "", "untagged manifests to keep"},
    {"storage.retention.policies.keepUntagged.mostRecentlyPushedCount", integer, built, "0", "keep the newest"},
    {"storage.retention.policies.keepUntagged.mostRecentlyPulledCount", integer, built, "0", "keep those pulled"},
    {"storage.retention.policies.keepUntagged.pushedWithin", duration, built, "", "keep what was just pushed"},
    {"storage.retention.policies.keepUntagged.pulledWithin", duration, built, "", "keep what was just pulled"},
    {"storage.storageDriver", free, not_built, "", "object store: s3, gcs or azure"},
    {"storage.cacheDriver", free, not_built, "", "redis or dynamodb"},
    {"storage.subPaths", map, not_built, "", "further stores by the first part of the repository's name"},
    {"storage.subPaths.*", object, not_built, "", "one store"},
    {"log", object, built, "", "what is logged where"},
    {"log.level", text, built, "info", "debug, info, warn or error"},
    {"log.output", text, built, "", "file to append to; empty: standard output"},
    {"log.audit", text, built, "", "file with a line per change that a client made"},
    {"scheduler", object, accepted, "", "zot's scheduler"},
    {"scheduler.numWorkers", integer, accepted, "0", "threads are chosen by the number of cores"},
}};
// clang-format on

}  // namespace hansa::server::config
