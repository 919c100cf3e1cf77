// The contract suite of MetadataStore on SQLite, on a real disk and a simulated one, and on the simulated store.
#include "meta/store_contract_test.h"

namespace hansa::meta::sqlite::testing {
namespace {

template <class B>
std::unique_ptr<Bed> make_bed() {
  return std::make_unique<B>();
}

INSTANTIATE_TEST_SUITE_P(Stores, MetaContract,
                         ::testing::Values(Kind{"SqliteOnRealDisk", make_bed<RealBed>},
                                           Kind{"SqliteOnSimDisk", make_bed<SimBed>},
                                           Kind{"InMemory", make_bed<MemoryBed>}),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace hansa::meta::sqlite::testing
