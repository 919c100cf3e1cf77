#include "voters/fence.h"

#include <gtest/gtest.h>

#include "catalog/member_records.h"
#include "catalog/records.h"

namespace hansa::voters {
namespace {

OwnStart own() {
  return {.node = "n1", .disk = "d", .boot = "b7", .next = "b8", .at = 70, .marks = 12};
}

Sighting seen(std::string disk, std::string boot, meta::Revision mod) {
  catalog::NodeRecord record;
  record.operation = "op";
  record.disk = std::move(disk);
  record.boot = std::move(boot);
  Sighting out;
  out.node = meta::KeyValue{.key = "node/n1", .value = encode(record), .mod = mod};
  return out;
}

TEST(Fence, TheLastStartOfThisDiskAndTheOneUnderWayAreItsOwn) {
  EXPECT_EQ(judge(own(), seen("d", "b7", 70)), Claim::good);
  EXPECT_EQ(judge(own(), seen("d", "b8", 80)), Claim::good) << "a crash right after the commit";
  EXPECT_EQ(judge(own(), seen("d", "b7", 90)), Claim::good) << "put again by a drain";
}

TEST(Fence, ALaterStartOrAnotherDiskShowsThatTheFolderIsAnOldCopy) {
  EXPECT_EQ(judge(own(), seen("d", "b9", 90)), Claim::old_copy);
  EXPECT_EQ(judge(own(), seen("other", "b9", 90)), Claim::old_copy);
}

// As of the image of a disk that was taken while the node ran.
TEST(Fence, ALaterMarkOfThisDiskShowsThatTheFolderIsAnOldCopy) {
  Sighting sighting = seen("d", "b7", 70);
  catalog::HoldsRecord mark;
  mark.operation = "op";
  mark.disk = "d";
  for (const std::uint64_t number : {11U, 12U, 13U}) {
    mark.number = number;
    sighting.mark = meta::KeyValue{.key = "holds/n1", .value = encode(mark)};
    EXPECT_EQ(judge(own(), sighting), number > own().marks ? Claim::old_copy : Claim::good) << number;
  }
  mark.disk = "another";
  sighting.mark->value = encode(mark);
  EXPECT_EQ(judge(own(), sighting), Claim::good) << "of the disk before this one";
}

TEST(Fence, AVoterThatLagsBehindSaysNothing) {
  EXPECT_EQ(judge(own(), seen("d", "b6", 60)), Claim::good);
  EXPECT_EQ(judge(own(), {}), Claim::good) << "it knows of no such node";
}

TEST(Fence, ASignOfLifeIsSomebodyElses) {
  Sighting sighting = seen("d", "b7", 70);
  sighting.alive = true;
  EXPECT_EQ(judge(own(), sighting), Claim::lives);
}

TEST(Fence, ARecordThatCannotBeUnderstoodIsAnError) {
  Sighting sighting = seen("d", "b7", 70);
  sighting.node->value = "nonsense";
  EXPECT_FALSE(judge(own(), sighting));
}

}  // namespace
}  // namespace hansa::voters
